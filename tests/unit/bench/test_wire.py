import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.wire import BrokenReplyError, Reply, ReplyReader, request_bytes

CHUNKED = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n10\r\n, this is chunks\r\n0\r\n\r\n"
)
PLAIN = b"HTTP/1.1 202 Accepted\r\ncontent-length: 5\r\nlocation: /v1/runs/run_1\r\n\r\nhello"


def read(data: bytes, cuts: list[int]) -> tuple[ReplyReader, bytes]:
    reader = ReplyReader()
    places = [0, *sorted({cut % len(data) for cut in cuts}), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]
    return reader, b"".join(reader.feed(piece) for piece in pieces)


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_chunks_are_put_together_wherever_they_are_cut(cuts: list[int]) -> None:
    reader, body = read(CHUNKED, cuts)

    assert body == b"hello, this is chunks"
    assert reader.is_done


@given(st.lists(st.integers(0, 1000), max_size=8))
def test_a_body_of_known_length_ends_there(cuts: list[int]) -> None:
    reader, body = read(PLAIN, cuts)

    assert (body, reader.is_done, reader.status) == (b"hello", True, 202)
    assert reader.headers["location"] == "/v1/runs/run_1"


def test_a_stream_without_its_last_chunk_is_not_done() -> None:
    reader, body = read(CHUNKED.removesuffix(b"0\r\n\r\n"), [])

    assert body == b"hello, this is chunks"
    assert not reader.is_done


def test_what_is_not_http_is_said() -> None:
    with pytest.raises(BrokenReplyError, match="SSH-2"):
        ReplyReader().feed(b"SSH-2.0-server\r\n\r\n")


def test_a_refusal_is_an_error_with_its_words() -> None:
    reply = Reply(0, status=422, pieces=[(1, b'{"detail": "no"}')])

    with pytest.raises(BrokenReplyError, match="422: "):
        reply.json()


def test_a_request_carries_its_json() -> None:
    sent = request_bytes("POST", "/v1/runs", {"input": "x"}, {"accept": "text/event-stream"})

    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/runs HTTP/1.1\r\n")
    assert b"content-length: 14" in head
    assert body == b'{"input": "x"}'
