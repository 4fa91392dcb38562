"""The event-stream reader against the letter of WHATWG HTML 9.2."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llm.sse import SseEvent, SseLimitError, SseParser

_PIECES = [
    b"data:", b"data: ", b"event: ", b"id:", b"retry: 5", b"dat", b":", b" ", b"x", b"{}", b"\r",
    b"\n", b"\r\n", b"\n\n", b"\xef\xbb\xbf", b"\xc3\xa9", b"\xc3", b"\0",
]  # fmt: skip


def read(stream: bytes, cuts: tuple[int, ...] = ()) -> list[SseEvent]:
    parser = SseParser()
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    return [event for piece in pieces for event in parser.feed(piece)]


def by_the_book(stream: bytes) -> list[SseEvent]:
    """The algorithm of the specification, on the whole stream, as plainly as it can be written."""
    text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
    lines = re.split(r"\r\n|\n|\r", text)[:-1]
    events: list[SseEvent] = []
    data, kind, last_id = "", "", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append(SseEvent(kind or "message", data[:-1], last_id))
            data, kind = "", ""
        elif name == "data":
            data += value + "\n"
        elif name == "event":
            kind = value
        elif name == "id" and "\0" not in value:
            last_id = value
    return events


@given(st.lists(st.sampled_from(_PIECES), max_size=40), st.lists(st.integers(0, 200), max_size=12))
def test_any_bytes_cut_anywhere_read_as_the_specification_says(
    pieces: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(pieces)

    assert read(stream, tuple(cuts)) == by_the_book(stream)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_every_line_end_works_at_every_cut(end: bytes) -> None:
    stream = end.join([b": hi", b"event: delta", b"data: a", b"data:b", b"id: 7", b"", b""])

    for cut in range(len(stream)):
        assert read(stream, (cut,)) == [SseEvent("delta", "a\nb", "7")]


def test_an_unfinished_block_is_never_handed_out() -> None:
    assert read(b"data: whole\n\ndata: half\n") == [SseEvent("message", "whole", "")]


def test_an_id_with_nul_is_ignored_and_an_id_lasts() -> None:
    events = read(b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n")

    assert [event.last_event_id for event in events] == ["1", "1"]


def test_an_event_without_data_is_dropped_with_its_name() -> None:
    assert read(b"event: ping\n\ndata: a\n\n") == [SseEvent("message", "a", "")]


def test_a_byte_order_mark_counts_only_at_the_start() -> None:
    stream = b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n"

    assert [event.data for event in read(stream, (1, 2))] == ["a"]


def test_an_empty_chunk_between_cr_and_lf_changes_nothing() -> None:
    parser = SseParser()

    events = [*parser.feed(b"data: a\r"), *parser.feed(b""), *parser.feed(b"\ndata: b\r\n\r\n")]

    assert [event.data for event in events] == ["a\nb"]


def test_a_line_without_end_is_refused_at_its_limit() -> None:
    parser = SseParser(max_line_bytes=10)
    parser.feed(b"data: 1234")

    with pytest.raises(SseLimitError, match="10 bytes"):
        parser.feed(b"5")


def test_a_whole_line_over_the_limit_is_refused() -> None:
    with pytest.raises(SseLimitError):
        SseParser(max_line_bytes=10).feed(b"data: 123456\n")


def test_an_event_of_many_lines_is_refused_at_its_limit() -> None:
    parser = SseParser(max_event_bytes=8)
    parser.feed(b"data: 1234\n")

    with pytest.raises(SseLimitError, match="8 bytes"):
        parser.feed(b"data: 1234\n")


def test_a_long_line_in_single_bytes_costs_no_more_than_its_length() -> None:
    parser = SseParser()
    size = 200_000

    for _ in range(size):
        parser.feed(b"x")

    assert parser.feed(b"\n") == []
