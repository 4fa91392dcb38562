"""What is read of a stream on its way through, whatever way its bytes are cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llm.raw.scan import StreamScan
from domain.errors import (
    MalformedReplyError,
    ModelRateLimitedError,
    OrchestratorError,
    StreamIncompleteError,
)
from tests.stub.wire import OpenAIWire, Usage

TRICKY = 'he said "usage": {"finish_reason":"stop"} \n\ndata: [DONE]\n\nand "error": {'


USED = Usage(7, 3, 2)


def stream(*texts: str, usage: Usage | None = USED, done: bool = True) -> bytes:
    wire = OpenAIWire()
    events = [*wire.opening("m", Usage(0, 0)), *(wire.text(text) for text in texts)]
    events += wire.finish("stop", usage)
    return b"".join(events) + (wire.done() if done else b"")


def scan(shows_usage: bool = True) -> StreamScan:
    return StreamScan("stub", shows_usage=shows_usage, secrets=("sk-1",))


@given(st.lists(st.integers(1, 40), min_size=1))
def test_however_the_bytes_are_cut_they_go_through_as_they_came(sizes: list[int]) -> None:
    data = stream("Hello ", TRICKY, "end")
    looked, out, at, turn = scan(), b"", 0, 0

    while at < len(data):
        size = sizes[turn % len(sizes)]
        out += looked.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    looked.end()

    assert out == data
    assert looked.usage is not None
    assert (looked.usage.input_tokens, looked.usage.output_tokens) == (7, 3)
    assert looked.usage.cached_tokens == 2
    assert looked.stop_reason == "stop"


@given(st.integers(1, 50))
def test_a_usage_that_was_not_asked_for_is_read_and_not_shown(size: int) -> None:
    data = stream("Hello ", TRICKY)
    looked = scan(shows_usage=False)

    out = b"".join(looked.feed(data[at : at + size]) for at in range(0, len(data), size))

    assert looked.usage is not None
    assert b'"usage": {"prompt' not in out
    assert out.endswith(b"data: [DONE]\n\n")
    assert out.count(b"data: ") == stream("Hello ", TRICKY, usage=None).count(b"data: ")


def test_lines_may_end_as_on_windows_and_a_mark_of_byte_order_may_lead() -> None:
    data = stream("Hello").replace(b"\n", b"\r\n")
    looked = scan()

    assert looked.feed(b"\xef\xbb\xbf" + data) == data
    assert looked.is_complete


def test_an_answer_without_its_marker_is_none() -> None:
    looked = scan()
    looked.feed(stream("Hello", done=False))

    with pytest.raises(StreamIncompleteError):
        looked.end()


def test_a_marker_without_a_reason_is_none() -> None:
    wire = OpenAIWire()
    looked = scan()
    looked.feed(wire.opening("m", Usage(0, 0))[0] + wire.text("Hello"))

    with pytest.raises(StreamIncompleteError):
        looked.feed(wire.done())


@pytest.mark.parametrize("data", ["{", "[]", "7", '{"choices": 7}', '{"choices": [7]}', "NaN"])
def test_nonsense_before_the_first_content_is_noticed(data: str) -> None:
    with pytest.raises(MalformedReplyError):
        scan().feed(f"data: {data}\n\n".encode())


@pytest.mark.parametrize("begins", [True, False])
def test_an_error_in_the_stream_is_raised_without_our_key(begins: bool) -> None:
    wire = OpenAIWire()
    looked = scan()
    wire.opening("m", Usage(0, 0))
    if begins:
        looked.feed(wire.text("Hello"))

    with pytest.raises(ModelRateLimitedError) as caught:
        looked.feed(wire.error("rate_limit_error", "slow down, sk-1"))

    assert "sk-1" not in str(caught.value)


def test_an_event_named_error_is_one_without_a_field_of_that_name() -> None:
    looked = scan()
    looked.feed(stream("Hello", done=False))

    with pytest.raises(OrchestratorError):
        looked.feed(b'event: error\ndata: {"message": "broken"}\n\n')


def test_keepalives_are_no_progress_and_text_of_any_kind_is() -> None:
    wire = OpenAIWire()
    looked = scan()
    looked.feed(wire.opening("m", Usage(0, 0))[0])
    thought = b'data: {"choices":[{"delta":{"reasoning_content":"hm"}}]}\n\n'
    seen: list[bool] = []

    for event in (wire.text("Hello"), *wire.keepalives(), thought):
        looked.feed(event)
        seen.append(looked.has_progress)

    assert seen == [True, False, False, True]


def test_a_usage_that_cannot_be_read_is_none() -> None:
    looked = scan()
    looked.feed(stream("Hello", usage=None, done=False))
    looked.feed(b'data: {"choices": [], "usage": {"prompt_tokens": "many"}}\n\n')

    assert looked.usage is None


def test_what_follows_the_end_is_dropped() -> None:
    data = stream("Hello")
    looked = scan()

    assert looked.feed(data + b'data: {"choices": []}\n\n') == data


def test_usage_in_the_last_chunk_of_the_answer_stays_there() -> None:
    looked = scan(shows_usage=False)
    chunk = {
        "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    event = f"data: {json.dumps(chunk)}\n\n".encode()

    assert looked.feed(event) == event
    assert looked.usage is not None
