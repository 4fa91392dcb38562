"""Legal moves, caps and usage of runs."""

import itertools
from typing import Any

import pytest

from domain.agent import Limits
from domain.errors import ConflictError, LimitReachedError
from domain.run import (
    TERMINAL,
    Run,
    RunKind,
    RunState,
    RunUsage,
    check_caps,
    check_move,
    usage_of,
)

LEGAL = {
    (RunState.CREATED, RunState.RUNNING),
    *((RunState.CREATED, state) for state in TERMINAL),
    *((RunState.RUNNING, state) for state in TERMINAL),
}


@pytest.mark.parametrize(
    ("before", "after"), list(itertools.product(RunState, RunState)), ids=lambda s: s.value
)
def test_only_the_drawn_moves_are_legal(before: RunState, after: RunState) -> None:
    if (before, after) in LEGAL:
        check_move("run_1", before, after)
    else:
        with pytest.raises(ConflictError, match="run_1"):
            check_move("run_1", before, after)


@pytest.mark.parametrize(
    ("limits", "usage", "elapsed", "reason"),
    [
        (Limits(max_turns=2), RunUsage(turns=2), 0.0, "max_turns"),
        (Limits(max_tokens=10), RunUsage(input_tokens=6, output_tokens=4), 0.0, "max_tokens"),
        (Limits(max_cost_usd="0.5"), RunUsage(cost_usd="0.5"), 0.0, "max_cost_usd"),
        (Limits(max_seconds=3), RunUsage(), 3.0, "max_seconds"),
    ],
)
def test_each_cap_stops_a_run_with_its_own_reason(
    limits: Limits, usage: RunUsage, elapsed: float, reason: str
) -> None:
    with pytest.raises(LimitReachedError) as caught:
        check_caps(limits, usage, elapsed)

    assert caught.value.reason == reason
    assert "0.5" in caught.value.message or reason != "max_cost_usd"


def test_a_run_below_its_caps_goes_on() -> None:
    limits = Limits(max_turns=2, max_tokens=10, max_cost_usd="0.5", max_seconds=3)

    check_caps(limits, RunUsage(turns=1, input_tokens=9, cost_usd="0.49"), 2.9)
    check_caps(Limits(), RunUsage(turns=10**6, cost_usd=None), 1e9)


def test_usage_has_no_cost_while_a_call_is_unpriced() -> None:
    assert usage_of(5 * 10**11, 0, turns=1).cost_usd == "0.5"
    assert usage_of(5 * 10**11, 1, turns=1).cost_usd is None


def test_a_run_is_terminal_in_exactly_three_states() -> None:
    blank: dict[str, Any] = {
        "run_id": "run_1",
        "owner": "o",
        "session_id": None,
        "agent_id": None,
        "kind": RunKind.AGENT,
        "waiting_on": None,
        "output": None,
        "error": None,
        "usage": RunUsage(),
        "root_run_id": "run_1",
        "created_at": 1,
        "started_at": None,
        "ended_at": None,
        "last_seq": 0,
        "cancel_asked": False,
        "metadata": {},
    }
    terminal = {s for s in RunState if Run.model_validate({**blank, "state": s}).is_terminal}

    assert terminal == TERMINAL


def test_limits_of_a_request_go_before_those_of_the_agent() -> None:
    merged = Limits(max_turns=3).over(Limits(max_turns=9, max_tokens=7))

    assert merged == Limits(max_turns=3, max_tokens=7)
