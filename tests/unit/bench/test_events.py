from itertools import pairwise

import pytest

from bench.bars import WrongAnswerError
from bench.events import (
    Expected,
    check_order,
    check_run,
    count_disorder,
    events_of,
    first_delta_ns,
    lateness_ns,
    read_events,
    tokens_text,
)
from bench.wire import Reply
from tests.unit.bench.samples import Entry, delta, done, frame, seen

STARTED: Entry = ("run_started", {})
GOOD = [STARTED, delta("t0 "), delta("t1"), done("t0 t1")]


def test_frames_are_read_wherever_the_stream_was_cut() -> None:
    sent = b"retry: 2000\n\n" + frame(1, *STARTED) + b": ping\n\n" + frame(2, *delta("t0"))
    places = [0, 20, 21, len(sent)]
    pieces = [(at, sent[at:end]) for at, end in pairwise(places)]

    events = read_events(pieces)

    assert [(event.seq, event.type) for event in events] == [
        (1, "run_started"),
        (2, "agent_stream_delta"),
    ]


def test_a_frame_that_was_cut_off_is_left_out() -> None:
    assert read_events([(1, frame(1, *STARTED)[:-3])]) == []


def test_a_frame_must_carry_the_number_of_its_envelope() -> None:
    forged = frame(1, *STARTED).replace(b"id: 1", b"id: 2")

    with pytest.raises(WrongAnswerError, match="frame 2"):
        read_events([(1, forged)])


def test_a_whole_run_is_accepted() -> None:
    check_run(seen(GOOD), Expected(2))


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        (GOOD[:-1], "did not end"),
        ([STARTED, delta("t0 "), done("t0 t1")], "streamed text"),
        ([STARTED, delta("t0 t2"), done("t0 t2")], "not what the model said"),
        ([STARTED, delta("t0 t1"), done("t0 t1", model_calls=2)], "2 model calls"),
        ([STARTED, delta("t0 t1"), done("t0 t1", tool_calls=1)], "1 tool calls"),
    ],
)
def test_a_wrong_run_is_refused(entries: list[Entry], why: str) -> None:
    with pytest.raises(WrongAnswerError, match=why):
        check_run(seen(entries), Expected(2))


def test_only_the_last_attempts_text_counts() -> None:
    reset: Entry = ("agent_stream_reset", {"step": "llm-1-1", "attempt": 2})
    entries = [STARTED, delta("t0 "), reset, delta("t0 t1", attempt=2), done("t0 t1", 2)]

    check_run(seen(entries), Expected(2, None))


def test_departure_clocks_are_no_part_of_the_answer() -> None:
    entries = [delta("t0@500000 "), delta("t1@1000000 "), done("t0@500000 t1@1000000 ")]

    events = seen(entries)

    check_run(events, Expected(2))
    assert lateness_ns(events) == [500_000, 1_000_000]


def test_a_missing_number_is_noticed() -> None:
    events = seen(GOOD)
    del events[1]

    with pytest.raises(WrongAnswerError, match="event 3 came where 2"):
        check_order(events)
    assert count_disorder(events) == 1


def test_a_doubled_event_is_counted_once() -> None:
    events = seen(GOOD)

    assert count_disorder([*events[:2], events[1], *events[2:]]) == 1


def test_the_first_token_is_the_first_delta() -> None:
    assert first_delta_ns(seen(GOOD)) == 2_000_000
    with pytest.raises(WrongAnswerError, match="no token"):
        first_delta_ns(seen([STARTED]))


@pytest.mark.parametrize(("status", "whole"), [(503, True), (200, False)])
def test_a_refused_or_broken_stream_is_no_answer(status: int, whole: bool) -> None:
    with pytest.raises(WrongAnswerError, match="broke off"):
        events_of(Reply(0, status=status, is_whole=whole))


def test_the_model_counts_its_tokens() -> None:
    assert tokens_text(3) == "t0 t1 t2"
