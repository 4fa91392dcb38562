"""What a child may have, and what its end reads like."""

import json

import pytest

from adapters.tools.spawn import spawn_run
from domain.agent import Limits
from domain.errors import LimitReachedError
from domain.family import Holder, SpawnArgs, child_run_id, outcome_of, share_of


def holder(distance: int = 1, **limits: object) -> Holder:
    return Holder("run_1", Limits.model_validate(limits), distance, 0, spent_pico=0, spent_tokens=0)


def test_a_child_has_one_name_however_often_it_is_made() -> None:
    assert child_run_id("run_1", "tool-1-0") == child_run_id("run_1", "tool-1-0")
    assert len({child_run_id(r, s) for r in ("run_1", "run_2") for s in ("tool-1-0", "t")}) == 4


def test_a_share_is_the_least_that_anyone_above_leaves() -> None:
    line = [holder(2, max_depth=3, max_turns=5, max_spawns=9), holder(1, max_depth=3, max_turns=9)]

    share = share_of(line, 0)

    assert (share.max_depth, share.max_spawns, share.max_turns) == (1, 8, 9)


@pytest.mark.parametrize(
    ("line", "at_work", "reason"),
    [
        ([holder(max_depth=0)], 0, "max_depth"),
        ([holder(2, max_depth=1), holder(1, max_depth=5)], 0, "max_depth"),
        ([holder(4), holder(3), holder(2), holder(1)], 0, "max_depth"),
        ([holder(max_children=2)], 2, "max_children"),
        ([holder()], 32, "max_children"),
        ([holder(max_spawns=0)], 0, "max_spawns"),
        ([Holder("r", Limits(max_tokens=5), 1, 0, 0, 5)], 0, "max_tokens"),
        ([Holder("r", Limits(max_cost_usd="0.1"), 1, 0, 10**11, 0)], 0, "max_cost_usd"),
        ([Holder("r", Limits(max_seconds=5), 1, 0, 0, 0, seconds_left=-1)], 0, "max_seconds"),
        ([Holder("r", Limits(), 1, 200, 0, 0)], 0, "max_spawns"),
    ],
)
def test_each_cap_refuses_with_its_own_reason(
    line: list[Holder], at_work: int, reason: str
) -> None:
    with pytest.raises(LimitReachedError) as refused:
        share_of(line, at_work)

    assert refused.value.reason == reason
    assert reason in refused.value.message


def test_the_tool_shows_what_the_step_takes() -> None:
    """Two modules name the arguments: a model is told of exactly those that are read."""
    shown = spawn_run.spec.parameters

    assert shown["properties"].keys() == SpawnArgs.model_fields.keys()
    assert shown["required"] == ["agent_id", "input"]
    assert all(shape.get("description") for shape in shown["properties"].values())
    limits = {"max_cost_usd": "0.5", "max_depth": 1}
    args = {"agent_id": "a", "input": "x", "wait": False, "limits": limits}
    assert SpawnArgs.model_validate_json(json.dumps(args)).limits == Limits.model_validate(limits)


def test_a_child_that_is_gone_from_the_record_is_an_error_the_model_can_read() -> None:
    outcome = outcome_of(None, "run_2")

    assert (outcome.ok, outcome.error_code) == (False, "child_lost")
    assert "run_2" in outcome.content
