"""A cheap look at an answer: which flaws show on its face."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.routing.verifying import Answer, Flaw, unfenced, verify

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


@pytest.mark.parametrize(
    ("answer", "flaw"),
    [
        (Answer("42"), None),
        (Answer(""), Flaw.EMPTY),
        (Answer(" \n"), Flaw.EMPTY),
        (Answer("", tool_calls=1), None),
        (Answer("It is", stop_reason="length"), Flaw.TRUNCATED),
        (Answer("It is", stop_reason="max_tokens"), Flaw.TRUNCATED),
        (Answer("{", wants_json=True), Flaw.SCHEMA),
        (Answer('{"n": "x"}', schema=SCHEMA), Flaw.SCHEMA),
        (Answer('{"n": 1}', schema=SCHEMA), None),
        (Answer('```json\n{"n": 1}\n```', schema=SCHEMA), None),
        (Answer("[]", wants_json=True), None),
        (Answer("Done.", tool_errors=1), Flaw.TOOL_ERROR),
        (Answer("I\u2019m sorry, but I can't help with that."), Flaw.REFUSAL),
        (Answer("I cannot provide this."), Flaw.REFUSAL),
        (Answer("Sorry, that is not something I can do."), Flaw.REFUSAL),
        (Answer("I'm afraid that is not possible."), Flaw.REFUSAL),
        (Answer("We apologize, but we don't have access to it."), Flaw.REFUSAL),
        (Answer("Sorry for the delay. That is not a problem: it is 4."), None),
        (Answer("Sorry to hear that you cannot sleep. Try warm milk."), None),
        (Answer("I'm sorry for the mix-up, that was not 5 but 4."), None),
        (Answer("I cannot help but admire the proof."), None),
        (Answer("As an AI language model, I have no body."), Flaw.REFUSAL),
        (Answer("I am not sure, maybe 7."), Flaw.LOW_CONFIDENCE),
        (Answer("7. Confidence: low"), Flaw.LOW_CONFIDENCE),
        (Answer("7. Confidence: 30%"), Flaw.LOW_CONFIDENCE),
        (Answer("7. Confidence: 95%"), None),
        (Answer("I don't know."), Flaw.LOW_CONFIDENCE),
        (Answer("Paris. " * 100 + "They said: I cannot help."), None),
        (Answer("You cannot divide by zero."), None),
        (Answer("The letter begins: we are sorry for your loss."), None),
    ],
)
def test_flaws_show(answer: Answer, flaw: Flaw | None) -> None:
    verdict = verify(answer)

    assert verdict.flaw is flaw, verdict.reason
    assert verdict.passed == (flaw is None)
    assert verdict.reason


def test_a_broken_schema_says_where() -> None:
    assert "n" in verify(Answer("{}", schema=SCHEMA)).reason


def test_a_fence_is_taken_off_and_only_a_fence() -> None:
    assert unfenced("```\n{}\n```") == "{}"
    assert unfenced("see ```x```") == "see ```x```"


@given(st.text(max_size=200), st.booleans())
def test_every_answer_gets_a_verdict(text: str, wants_json: bool) -> None:
    assert verify(Answer(text, wants_json=wants_json)).reason
