"""What the demo checks would notice if it were broken."""

from typing import Any

import pytest

from bootstrap.demo.checks import (
    LOG_CHECKS,
    counts_to,
    ends_once,
    final_text,
    is_gapless,
    is_whole,
    last_attempt_text,
    was_reset,
)


def log(*entries: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"seq": at, "type": kind, "data": data} for at, (kind, data) in enumerate(entries, 1)]


def delta(text: str, attempt: int = 1, step: str = "llm-1-1") -> tuple[str, dict[str, Any]]:
    return "agent_stream_delta", {"text": text, "attempt": attempt, "step": step}


def reset(attempt: int, step: str = "llm-1-1") -> tuple[str, dict[str, Any]]:
    return "agent_stream_reset", {"attempt": attempt, "step": step}


def done(text: str) -> tuple[str, dict[str, Any]]:
    return "run_done", {"final_message": {"role": "assistant", "content": text}}


GOOD = log(delta("t0 "), reset(2), delta("t0 ", 2), delta("t1", 2), done("t0 t1"))


def test_a_run_that_went_on_after_a_kill_passes_every_check() -> None:
    assert all(holds(GOOD) for _, holds in LOG_CHECKS)
    assert was_reset(GOOD)
    assert counts_to(GOOD, 2)
    assert final_text(GOOD) == last_attempt_text(GOOD) == "t0 t1"


def test_each_step_has_a_text_of_its_own() -> None:
    events = log(delta("calling", step="llm-1-1"), delta("42", step="llm-2-1"), done("42"))

    assert is_whole(events)


def test_a_reset_voids_what_came_before_even_without_new_text() -> None:
    assert last_attempt_text(log(delta("lost"), reset(2))) == ""


@pytest.mark.parametrize(
    "events",
    [
        GOOD[:-1],
        [*GOOD, {**GOOD[-1], "seq": 6}],
        [*GOOD, {"seq": 6, "type": "agent_state", "data": {}}],
        [],
    ],
)
def test_a_run_that_ends_never_twice_or_goes_on_after_its_end_is_noticed(
    events: list[dict[str, Any]],
) -> None:
    assert not ends_once(events)


@pytest.mark.parametrize("events", [GOOD[1:], [*GOOD[:2], *GOOD[3:]], [*GOOD[:2], GOOD[1]]])
def test_a_gap_or_a_repetition_is_noticed(events: list[dict[str, Any]]) -> None:
    assert not is_gapless(events)


@pytest.mark.parametrize("said", ["t0", "t0 t1 t1", "t1 t0", "t0 t0 t1"])
def test_words_that_are_missing_doubled_or_swapped_are_noticed(said: str) -> None:
    assert not counts_to(log(done(said)), 2)


def test_an_answer_that_is_not_what_was_streamed_is_noticed() -> None:
    assert not is_whole(log(delta("a"), done("b")))
    assert not is_whole(log(delta("a"), ("run_failed", {"code": "x"})))
    assert not was_reset(log(delta("a"), done("a")))
