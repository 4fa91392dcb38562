"""What was told cannot be taken back: attempts that say the same, and others."""

from typing import Any

import pytest

from api.completions.retelling import Retelling, TextChangedError
from domain.event import EventType

Event = tuple[EventType, dict[str, Any]]


def delta(text: str, step: str = "llm-1-1") -> Event:
    return EventType.AGENT_STREAM_DELTA, {"text": text, "step": step, "attempt": 1}


def reset(step: str = "llm-1-1") -> Event:
    return EventType.AGENT_STREAM_RESET, {"step": step, "attempt": 2}


def billed(step: str | None = "llm-1-1", error: object = None) -> Event:
    return EventType.LLM_CALL_DONE, {"step": step, "error": error}


def done(text: str) -> Event:
    return EventType.RUN_DONE, {"final_message": {"role": "assistant", "content": text}}


def told(*events: Event, committed: bool = False) -> list[str]:
    text = Retelling(committed=committed)
    return [text.take(kind, data) for kind, data in events]


def test_deltas_are_told_as_they_come() -> None:
    assert told(delta("a "), delta("b"), billed(), done("a b")) == ["a ", "b", "", ""]


def test_the_same_words_of_a_new_attempt_go_on_silently() -> None:
    events = [delta("a "), delta("b "), reset(), delta("a"), delta(" b"), delta(" c"), billed()]

    assert told(*events, done("a b c")) == ["a ", "b ", "", "", "", "c", "", ""]


def test_an_attempt_may_be_replaced_before_it_caught_up() -> None:
    events = [delta("a b c"), reset(), delta("a "), reset(), delta("a b "), delta("c d")]

    assert "".join(told(*events, done("a b c d"))) == "a b c d"


def test_another_model_of_the_chain_may_say_the_same() -> None:
    events = [delta("a "), billed(error={"code": "x"}), reset("llm-1-2"), delta("a b", "llm-1-2")]

    assert told(*events, billed("llm-1-2"), done("a b")) == ["a ", "", "", "b", "", ""]


@pytest.mark.parametrize(
    "events",
    [
        [delta("a b"), reset(), delta("a x")],
        [delta("a b"), reset(), delta("a"), billed()],
        [delta("a b"), reset(), billed()],
        [delta("a b"), billed(), done("x")],
        [delta("a b"), done("a")],
    ],
)
def test_other_words_end_the_telling(events: list[Event]) -> None:
    with pytest.raises(TextChangedError):
        told(*events)


def test_turns_stand_apart() -> None:
    events = [delta("look"), billed(), delta("42", "llm-2-1"), billed("llm-2-1"), done("42")]

    assert told(*events) == ["look", "", "\n\n42", "", ""]


def test_what_was_not_streamed_is_told_at_the_end() -> None:
    assert told(done("kept")) == ["kept"]
    assert told(delta("a "), billed(), done("a b")) == ["a ", "", "b"]


def test_an_answer_that_is_only_trimmed_is_the_same() -> None:
    assert told(delta("a b \n"), done("a b")) == ["a b \n", ""]


def test_a_call_that_is_tied_to_the_run_is_none_of_its_steps() -> None:
    assert told(delta("a"), billed(None), billed("call_1"), done("a")) == ["a", "", "", ""]


def test_committed_text_is_told_once_it_cannot_change() -> None:
    events = [
        delta("x "),
        reset(),
        delta("a "),
        delta("b"),
        billed(),
        delta("c", "llm-2-1"),
        billed("llm-2-1"),
        (EventType.AGENT_INVOKE_DONE, {"step": "llm-2-1"}),
    ]

    assert told(*events, done("c"), committed=True) == [
        *("", "", "", "", "a b", "", "\n\nc", "", ""),
    ]
