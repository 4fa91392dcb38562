"""Decisions sent to the workflow itself are held to what the API holds them to."""

import asyncio
from typing import Any

import pytest

from domain.order import DecisionReply
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.stage import Stage
from tests.workflows.test_approvals import answer_of, parked, question
from tests.workflows.test_tools import arrivals


async def sent(stage: Stage, run_id: str, order: Any) -> DecisionReply:
    """Send a decision as `temporal workflow update execute` does."""
    said = await stage.handle(run_id).execute_update(
        "decide_approval", order, result_type=DecisionReply
    )
    assert isinstance(said, DecisionReply)
    return said


@pytest.mark.parametrize(
    ("more", "because"),
    [
        ({"args": {"amount": 1}}, "has no field args"),
        ({"remember": "agent", "by": "boss"}, "has no field by, remember"),
        ({"args_digest": "0" * 64}, "conflict"),
        ({"reason": "x" * 10_001}, "at most 10000 characters"),
    ],
)
async def test_what_it_does_not_take_decides_nothing(
    make_stage: Make, more: dict[str, Any], because: str
) -> None:
    """A field that is passed over in silence may be the one that mattered."""
    async with make_stage(tools=TARGETS) as stage:
        run, asked = await parked(stage)
        order = {"approval_id": asked.approval_id, "decision": "approve"}

        said = await sent(stage, run.run_id, order | more)

        assert not said.accepted
        assert because in said.said
        assert (await question(stage, run.run_id)).status == "pending"
        shown = asked.args_digest
        assert (await sent(stage, run.run_id, order | {"args_digest": shown})).accepted
        assert "it said 1" in await answer_of(stage, run.run_id)
        assert arrivals(stage, "charge_unsafe") == [1]


@pytest.mark.parametrize(
    ("nonsense", "because"),
    [
        ("x", "no JSON object"),
        (None, "no JSON object"),
        ([{}], "no JSON object"),
        ({"decision": "approve"}, "approval_id: Field required"),
        ({"approval_id": "ap_1", "decision": 7}, "decision: Input should be a valid string"),
        ({"approval_id": "ap_1", "decision": "approve", "edited_args": 1}, "edited_args: "),
        ({"approval_id": "ap_1", "decision": "perhaps"}, "approve or reject"),
    ],
)
async def test_an_update_that_is_no_decision_is_refused_in_words(
    make_stage: Make, nonsense: Any, because: str
) -> None:
    async with make_stage(tools=TARGETS) as stage:
        run, _ = await parked(stage)

        said = await sent(stage, run.run_id, nonsense)

        assert not said.accepted
        assert said.said.startswith("invalid_request: ")
        assert because in said.said
        assert "pydantic" not in said.said
        assert (await question(stage, run.run_id)).status == "pending"


async def test_all_who_decide_before_the_run_ends_are_answered(make_stage: Make) -> None:
    """A workflow that closes takes their answer from updates that it had accepted."""
    async with make_stage(tools=TARGETS) as stage:
        run, asked = await parked(stage)
        order = {"approval_id": asked.approval_id, "decision": "reject"}

        said = await asyncio.gather(
            *(sent(stage, run.run_id, order) for _ in range(6)), return_exceptions=True
        )

        replies = [one for one in said if isinstance(one, DecisionReply)]
        assert [one.accepted for one in replies].count(True) == 1
        late = [one.said.partition(":")[0] for one in replies if not one.accepted]
        assert set(late) <= {"approval_decided", "run_terminal"}
        for one in said:  # what came after the end finds no workflow
            assert isinstance(one, DecisionReply) or "already completed" in str(one)
