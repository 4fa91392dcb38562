"""Token buckets, printable text, and what the guards are made of."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.buckets import Buckets
from api.printable import printable


def test_a_burst_passes_and_then_one_per_interval() -> None:
    buckets = Buckets(per_second=2, burst=3)

    waits = [buckets.take("a", 0.0) for _ in range(5)]

    assert waits[:3] == [0.0] * 3
    assert waits[3:] == [0.5, 0.5]
    assert buckets.take("a", 0.5) == 0.0
    assert buckets.take("a", 0.5) == 0.5


def test_callers_do_not_share_a_bucket() -> None:
    buckets = Buckets(per_second=1, burst=1)

    assert buckets.take("a", 0.0) == 0.0
    assert buckets.take("b", 0.0) == 0.0


@given(st.lists(st.floats(min_value=0, max_value=1), max_size=60))
def test_no_caller_gets_more_than_burst_and_rate_allow(steps: list[float]) -> None:
    buckets = Buckets(per_second=5, burst=4)
    now, passed = 0.0, 0
    for step in steps:
        now += step
        passed += buckets.take("a", now) == 0.0

    assert passed <= 4 + 5 * now + 1e-6


def test_the_callers_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.buckets._MOST", 2)
    buckets = Buckets(per_second=1, burst=1)
    for caller in "abc":
        buckets.take(caller, 0.0)

    assert buckets.take("c", 0.0) > 0
    assert buckets.take("a", 0.0) == 0.0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 🚀", "plain ü 🚀"),
        ("a\r\nb", r"a\u000d\u000ab"),
        ("\x1b[31mred", r"\u001b[31mred"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2028\u2066\x85\x7f", r"\u2028\u2066\u0085\u007f"),
        ("\ud800", r"\ud800"),
        ("x" * 300, "x" * 200 + "..."),
    ],
)
def test_unsafe_characters_are_escaped_and_length_is_capped(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_every_text_becomes_one_line_that_a_json_log_can_hold(text: str) -> None:
    line = printable(text)

    assert len(line.splitlines()) <= 1
    assert json.loads(json.dumps({"m": line}))["m"] == line
    line.encode("utf-8")
