"""Approvals: the digest binds a question to what runs, the summary cannot deceive."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.approval import SUMMARY_CHARS, Risk, digest_of_call, risk_of, summary_of
from domain.tool import Effect


def test_the_digest_can_be_computed_from_what_is_shown() -> None:
    shown = {"tool": "mail", "arguments": {"to": "bob", "n": 1}, "tool_call_id": "tc_1"}
    text = json.dumps(shown, sort_keys=True, separators=(",", ":"))

    digest = digest_of_call("mail", '{ "n": 1, "to": "bob" }', "tc_1")

    assert digest == sha256(text.encode()).hexdigest()


def test_the_digest_changes_with_all_that_matters() -> None:
    digests = {
        digest_of_call("mail", '{"to":"bob"}', "tc_1"),
        digest_of_call("post", '{"to":"bob"}', "tc_1"),
        digest_of_call("mail", '{"to":"eve"}', "tc_1"),
        digest_of_call("mail", '{"to":"bob"}', "tc_2"),
        digest_of_call("mail", "broken", "tc_1"),
    }

    assert len(digests) == 5


@given(st.text())
def test_any_arguments_have_a_digest_and_a_summary(args: str) -> None:
    assert len(digest_of_call("mail", args, "tc_1")) == 64
    assert summary_of("mail", args).isprintable() or "\n" not in summary_of("mail", args)


def test_a_summary_shows_the_call_on_one_line() -> None:
    assert summary_of("mail", '{"to":"bób","n":[1]}') == 'mail(to="bób", n=[1])'
    assert summary_of("mail", "no json") == 'mail("no json")'


@pytest.mark.parametrize(
    "steering",
    [
        *("\u202e", "\u2066", "\x1b", "\u2028", "\r", "\u200e", "\u200f", "\u061c"),
        *("\u200b", "\ufeff", "\u2060", "\xad", "\U000e0041"),
    ],
)
def test_a_summary_cannot_look_like_another_call(steering: str) -> None:
    text = summary_of("mail", json.dumps({f"to{steering}": f"bob{steering}"}, ensure_ascii=False))

    assert steering not in text


def test_a_long_summary_is_cut() -> None:
    text = summary_of("mail", json.dumps({"to": "x" * 5000}))

    assert len(text) == SUMMARY_CHARS - 4 + len("...)")
    assert text.endswith("...)")


@pytest.mark.parametrize(
    ("effect", "tainted", "risk"),
    [
        (Effect.NONE, False, Risk.LOW),
        (Effect.IDEMPOTENT, False, Risk.MEDIUM),
        (Effect.IDEMPOTENT, True, Risk.HIGH),
        (Effect.UNSAFE, False, Risk.HIGH),
    ],
)
def test_the_risk_follows_from_the_effect(effect: Effect, tainted: bool, risk: Risk) -> None:
    assert risk_of(effect, is_tainted=tainted) is risk
