"""The agent protocol's events: what each field may be, and what a liar is told."""

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.agents.protocol import MAX_STATES, AnswerReader, request_body
from adapters.llm.sse import SseEvent, SseParser
from domain.agent import AgentChunk, AgentDelta, AgentDone, AgentInvocation, AgentState
from domain.chat import ChatMessage, ToolCallRequest
from domain.errors import AgentFailedError

INVOCATION = AgentInvocation(
    endpoint="http://agent.test",
    agent_id="agent_1",
    session_id="sess_1",
    run_id="run_1",
    input_message=ChatMessage(role="user", content="hi"),
    messages=(
        ChatMessage(role="user", content="hi"),
        ChatMessage(
            role="assistant",
            content="",
            tool_calls=(ToolCallRequest(call_id="c1", name="t", arguments="{}"),),
        ),
        ChatMessage(role="tool", content="3", tool_call_id="c1"),
    ),
    context={"channel": "test"},
)


def read(event: str, data: object) -> AgentChunk | None:
    text = data if isinstance(data, str) else json.dumps(data)
    return AnswerReader(INVOCATION).read(SseEvent(event, text, ""))


@pytest.mark.parametrize(
    ("event", "data", "chunk"),
    [
        ("delta", {"text": "a", "run_id": "run_1"}, AgentDelta(text="a")),
        ("delta", {"text": "a"}, AgentDelta(text="a")),
        ("delta", {}, AgentDelta(text="")),
        ("delta", {"text": "a\0b"}, AgentDelta(text="a\ufffdb")),
        ("state", {"state": "busy", "detail": "x"}, AgentState(state="busy", detail="x")),
        ("state", {"state": "busy"}, AgentState(state="busy")),
        ("state", {"state": "s" * 999}, AgentState(state="s" * 200)),
        ("done", {"final_message": "a"}, AgentDone(final_message="a")),
        ("done", {"final_message": ""}, AgentDone(final_message="")),
        (
            "done",
            {"final_message": {"role": "assistant", "content": "a"}},
            AgentDone(final_message="a"),
        ),
        (
            "done",
            {"final_message": "a", "usage": {"tokens": 3, "x": 1.5, "y": -1, "z": True, "w": "1"}},
            AgentDone(final_message="a", usage={"tokens": 3}),
        ),
        ("done", {"final_message": "a", "usage": [1]}, AgentDone(final_message="a")),
        ("done", {"final_message": "a", "usage": {"tokens": 2**53}}, AgentDone(final_message="a")),
        ("heartbeat", {"x": 1}, None),
        ("message", "not even JSON", None),
    ],
)
def test_event_says(event: str, data: object, chunk: AgentChunk | None) -> None:
    assert read(event, data) == chunk


@pytest.mark.parametrize(
    ("event", "data", "why"),
    [
        ("error", {"code": "overloaded", "message": "later"}, "reported overloaded: later"),
        ("error", {}, "reported no code"),
        ("delta", {"text": "a", "run_id": "run_2"}, "delta of another run .*run_2"),
        ("delta", {"text": "a", "run_id": 7}, "delta of another run"),
        ("delta", {"text": 7}, "text that is not text"),
        ("delta", [], "not a JSON object"),
        ("delta", "{", "not JSON"),
        ("delta", '{"text": "\\ud800"}', "not JSON"),
        ("done", '{"usage": {"tokens": NaN}}', "not JSON"),
        ("done", "[" * 2000 + "]" * 2000, "not JSON"),
        ("done", {"final_message": 7}, "neither text nor"),
        ("done", {"final_message": {"content": [1]}}, "content that is not text"),
        ("state", {"state": {}}, "state that is not text"),
    ],
)
def test_event_that_breaks_the_protocol_ends_the_stream(event: str, data: object, why: str) -> None:
    with pytest.raises(AgentFailedError, match=f"agent agent_1 .*{why}"):
        read(event, data)


def test_joined_deltas_are_the_answer_when_done_has_none() -> None:
    reader = AnswerReader(INVOCATION)
    for word in ("Hello ", "world"):
        reader.read(SseEvent("delta", json.dumps({"text": word}), ""))

    assert reader.read(SseEvent("done", "{}", "")) == AgentDone(final_message="Hello world")


def test_number_of_states_is_bounded() -> None:
    reader = AnswerReader(INVOCATION)
    for _ in range(MAX_STATES):
        reader.read(SseEvent("state", '{"state": "busy"}', ""))

    with pytest.raises(AgentFailedError, match="more than 1000 states"):
        reader.read(SseEvent("state", '{"state": "busy"}', ""))


def test_number_of_usage_fields_is_bounded() -> None:
    done = read("done", {"usage": {f"{'k' * 500}{n}" if n else "k": n for n in range(1000)}})

    assert isinstance(done, AgentDone)
    assert len(done.usage) <= 32
    assert all(len(name) <= 100 for name in done.usage)


def test_request_has_the_fields_of_the_protocol() -> None:
    assert request_body(INVOCATION) == {
        "agent_id": "agent_1",
        "session_id": "sess_1",
        "run_id": "run_1",
        "input_message": {"role": "user", "content": "hi"},
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": ({"call_id": "c1", "name": "t", "arguments": "{}"},),
            },
            {"role": "tool", "content": "3", "tool_call_id": "c1"},
        ],
        "context": {"channel": "test"},
    }


STREAM = (
    '\ufeff: hello\r\nid: a\0b\r\nevent: state\r\ndata: {"state":\r\ndata:  "é"}\r\n\r\n'
    'event: delta\rdata: {"text": "one "}\r\revent: delta\ndata:{"text": "two"}\n\n'
    'event: done\r\ndata: {"usage": {"tokens": 2}}\r\n\r\n'
    'event: delta\r\ndata: {"text": "unfinished"}\r\n'
).encode()
CHUNKS: list[AgentChunk] = [
    AgentState(state="é"),
    AgentDelta(text="one "),
    AgentDelta(text="two"),
    AgentDone(final_message="one two", usage={"tokens": 2}),
]


def read_all(pieces: Sequence[bytes]) -> list[AgentChunk]:
    parser, reader = SseParser(), AnswerReader(INVOCATION)
    found = [reader.read(event) for piece in pieces for event in parser.feed(piece)]
    return [chunk for chunk in found if chunk is not None]


def test_stream_split_at_every_byte_reads_the_same() -> None:
    for at in range(len(STREAM) + 1):
        assert read_all([STREAM[:at], STREAM[at:]]) == CHUNKS
    assert read_all([STREAM[at : at + 1] for at in range(len(STREAM))]) == CHUNKS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_stream_split_anywhere_reads_the_same(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]

    pieces = [STREAM[start:end] for start, end in pairwise(edges)]

    assert read_all(pieces) == CHUNKS
