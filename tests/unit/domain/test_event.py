"""Events on the wire: one line of valid UTF-8 JSON, whatever is inside."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.event import (
    DATA_OF,
    MAX_NESTING,
    TERMINAL_EVENTS,
    EventDraft,
    EventType,
    Lineage,
    StoredEvent,
    as_json,
    as_text,
    encode_json,
    envelope,
    sse_frames,
)


def test_every_type_says_what_its_data_holds() -> None:
    assert set(DATA_OF) == set(EventType)


@given(st.text(alphabet=st.characters(blacklist_categories=())))
def test_any_text_becomes_one_line_of_valid_json(text: str) -> None:
    line = encode_json({"text": text})

    assert "\n" not in line
    assert "\r" not in line
    json.loads(line.encode("utf-8"))


def test_text_without_surrogates_survives_unchanged() -> None:
    assert json.loads(encode_json({"t": "grüße \u2028 \n"})) == {"t": "grüße \u2028 \n"}


def test_an_envelope_names_its_run_its_place_and_its_tree() -> None:
    draft = EventDraft(type=EventType.RUN_STARTED, key="k", data={"a": 1})
    lineage = Lineage(root_run_id="run_r", parent_run_id="run_p", depth=2)

    assert json.loads(envelope("run_x", 7, 1000, draft, lineage)) == {
        "event_id": "evt_x_7",
        "run_id": "run_x",
        "seq": 7,
        "ts": 1000,
        "type": "run_started",
        "data": {"a": 1},
        "root_run_id": "run_r",
        "parent_run_id": "run_p",
        "depth": 2,
    }


def test_a_frame_carries_id_type_and_data() -> None:
    event = StoredEvent(run_id="run_x", seq=3, type="run_done", envelope='{"a":1}')

    assert sse_frames([event]) == b'id: 3\nevent: run_done\ndata: {"a":1}\n\n'


def test_three_types_end_a_run() -> None:
    ends = {
        kind
        for kind in EventType
        if StoredEvent(run_id="r", seq=1, type=kind.value, envelope="{}").is_terminal
    }

    assert ends == TERMINAL_EVENTS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("[]", []),
        ("42", "42"),
        ('"quoted"', '"quoted"'),
        ("", ""),
        ("{not json", "{not json"),
        ("[NaN]", "[NaN]"),
        ('{"a": -Infinity}', '{"a": -Infinity}'),
        ("[1e999]", "[1e999]"),
    ],
)
def test_objects_and_lists_are_shown_as_such_and_all_else_as_text(text: str, value: object) -> None:
    assert as_json(text) == value


@pytest.mark.parametrize("levels", [MAX_NESTING, MAX_NESTING + 1, 985, 100_000])
def test_deep_nesting_stays_text(levels: int) -> None:
    """What one part of the product can read, every part must be able to write."""
    text = "[" * levels + "]" * levels

    assert isinstance(as_json(text), str) is (levels > MAX_NESTING)


def test_many_brackets_that_are_not_deep_are_fine() -> None:
    assert as_json("[" + "{}," * 500 + "{}]") == [{}] * 501


@given(st.text(alphabet='[]{}",:0123456789eE.-aNIfinty ', max_size=40))
def test_what_is_taken_apart_can_be_put_together_again(text: str) -> None:
    shown = as_json(text)

    assert as_json(as_text(shown)) == shown
    json.loads(encode_json(shown), parse_constant=pytest.fail)


@pytest.mark.parametrize("text", [r'{"to": "a\ud800"}', r'["\udc00b"]', r'{"\uDBFF": 1}'])
def test_json_with_half_a_character_stays_text(text: str) -> None:
    """As data it could be put into no answer: whoever listed it would get an error for ever."""
    assert as_json(text) == text


def test_json_with_a_character_spelt_in_two_halves_is_data() -> None:
    assert as_json(r'{"to": "\ud83d\ude00"}') == {"to": "\U0001f600"}
