"""Decisions sent to the workflow itself are held to what the API holds them to."""

from typing import Any

import pytest

from domain.order import DecisionReply
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.stage import Stage
from tests.workflows.test_approvals import answer_of, parked, question
from tests.workflows.test_tools import arrivals


async def sent(stage: Stage, run_id: str, order: dict[str, Any]) -> DecisionReply:
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
