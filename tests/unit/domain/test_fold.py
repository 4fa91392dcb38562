"""Folding a log: what each event does to the row it stands for."""

import itertools
from typing import Any

import pytest

from domain.fold import Folded, fold
from domain.run import RunError, RunState, RunUsage, WaitingOn

STARTED = ("run_started", {"agent_id": "helper", "kind": "agent"})
TOOL_STARTED = ("run_started", {"agent_id": None, "kind": "tool"})


def log(*events: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"seq": seq, "ts": 1000 + seq, "type": kind, "data": data}
        for seq, (kind, data) in enumerate(events, 1)
    ]


def delta(text: str, attempt: int = 1, step: str = "llm-1-1") -> tuple[str, dict[str, Any]]:
    return ("agent_stream_delta", {"text": text, "step": step, "attempt": attempt})


def done(step: str = "llm-1-1") -> tuple[str, dict[str, Any]]:
    return ("agent_invoke_done", {"agent_id": "helper", "step": step})


def bill(cost: str | None, error: dict[str, str] | None = None) -> tuple[str, dict[str, Any]]:
    tokens = {"prompt_tokens": 10, "completion_tokens": 4, "cached_tokens": 3}
    return ("llm_call_done", {**tokens, "cost_usd": cost, "error": error})


def test_an_empty_log_is_a_run_that_was_just_made() -> None:
    assert fold([]) == Folded()


def test_events_that_change_nothing_are_counted() -> None:
    assert fold(log(("user_input", {"content": "hi"}))) == Folded(last_seq=1)


def test_a_run_begins_with_its_first_work() -> None:
    folded = fold(log(("user_input", {}), STARTED))

    assert (folded.state, folded.started_at) == (RunState.RUNNING, 1002)


def test_waiting_ends_with_resumption_or_with_the_end() -> None:
    waiting = ("run_waiting", {"waiting_on": "approval", "reason": "?"})
    resumed = ("run_resumed", {"waiting_on": "approval"})
    cancelled = ("run_cancelled", {"reason": None, "partial": None})

    assert fold(log(STARTED, waiting)).waiting_on is WaitingOn.APPROVAL
    assert fold(log(STARTED, waiting, resumed)).waiting_on is None
    assert fold(log(STARTED, waiting, cancelled)).waiting_on is None


def test_the_output_is_the_text_of_the_committed_attempt() -> None:
    reset = ("agent_stream_reset", {"step": "llm-1-1", "attempt": 2})
    voided = (STARTED, delta("dead"), reset, delta("he", 2), delta("x", step="llm-0-1"))

    assert fold(log(*voided)).output is None
    assert fold(log(*voided, delta("y", 2), done())).output == {
        "role": "assistant",
        "content": "hey",
    }
    assert fold(log(STARTED, delta("dead"), reset, done())).output == {
        "role": "assistant",
        "content": "",
    }


def test_the_end_has_the_last_word_on_the_output() -> None:
    final = {"role": "assistant", "content": "better"}

    folded = fold(log(STARTED, done(), ("run_done", {"final_message": final})))

    assert (folded.state, folded.output, folded.ended_at) == (RunState.DONE, final, 1003)


def test_a_failed_run_has_its_error() -> None:
    folded = fold(log(STARTED, ("run_failed", {"code": "max_turns", "message": "too many"})))

    assert folded.error == RunError(code="max_turns", message="too many")
    assert folded.state is RunState.FAILED


def test_usage_is_the_sum_of_all_attempts_and_turns_are_those_that_replied() -> None:
    failed = bill("0.5", {"code": "model_timeout", "message": "slow"})

    folded = fold(log(STARTED, failed, bill("0.000000000001")))

    assert folded.usage == RunUsage(
        input_tokens=20,
        output_tokens=8,
        cached_tokens=6,
        cost_usd="0.500000000001",
        model_calls=2,
        turns=1,
    )


def test_one_call_without_a_price_makes_the_cost_unknown() -> None:
    assert fold(log(STARTED, bill("0.5"), bill(None))).usage.cost_usd is None


def test_an_external_agents_answer_is_a_turn() -> None:
    _, billed = bill(None)
    of_agent = ("llm_call_done", {**billed, "step": "invoke-1"})

    assert fold(log(STARTED, done("invoke-1"))).usage.turns == 1
    usage = fold(log(STARTED, of_agent, done("invoke-1"))).usage
    assert (usage.turns, usage.model_calls) == (1, 1)


def test_tool_calls_are_counted_once_they_are_run_or_refused() -> None:
    log_of_three = log(
        *[("tool_call_created", {})] * 3,
        ("tool_dispatched", {"attempt": 1}),
        ("tool_dispatched", {"attempt": 2}),
        ("tool_result", {"status": "rejected"}),
        ("tool_result", {"status": "failed"}),
    )

    assert fold(log_of_three).usage.tool_calls == 2


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"status": "succeeded", "result": "sent", "error": None}, "sent"),
        (
            {
                "status": "failed",
                "result": None,
                "error": {"code": "tool_error", "message": "no"},
            },
            "no",
        ),
    ],
)
def test_a_tool_runs_output_is_what_the_tool_said(data: dict[str, Any], text: str) -> None:
    folded = fold(log(TOOL_STARTED, ("tool_result", data)))

    assert folded.output == {"role": "tool", "content": text}


def test_an_agents_output_is_not_what_its_tools_said() -> None:
    assert (
        fold(
            log(STARTED, ("tool_result", {"status": "succeeded", "result": "1", "error": None}))
        ).output
        is None
    )


@pytest.mark.parametrize("seqs", [(2,), (1, 1), (1, 3), (1, 2, 1)])
def test_a_gap_or_a_repetition_is_refused(seqs: tuple[int, ...]) -> None:
    events = log(*itertools.repeat(("user_input", {}), len(seqs)))
    broken = [{**event, "seq": seq} for event, seq in zip(events, seqs, strict=True)]

    with pytest.raises(ValueError, match="follows"):
        fold(broken)


def test_nothing_comes_after_the_end() -> None:
    end = ("run_done", {"final_message": None})

    with pytest.raises(ValueError, match="after the end"):
        fold(log(STARTED, end, ("user_input", {})))
