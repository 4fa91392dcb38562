"""The readers of both vendors' events: what they make of good and of bad ones."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.llm.anthropic_reply import AnthropicReply
from adapters.llm.openai_reply import OpenAIReply
from adapters.llm.reply import ReplyLimits, ReplyParser
from adapters.llm.sse import SseEvent
from adapters.llm.values import clean
from domain.chat import TokenUsage
from domain.errors import (
    MalformedReplyError,
    ModelUnavailableError,
    ReplyTooLargeError,
    StreamIncompleteError,
)

LIMITS = ReplyLimits(max_text_bytes=10, max_tool_calls=2, max_argument_bytes=8)


def openai(limits: ReplyLimits | None = None) -> OpenAIReply:
    return OpenAIReply("openai", limits or ReplyLimits(), ())


def anthropic(limits: ReplyLimits | None = None) -> AnthropicReply:
    return AnthropicReply(limits or ReplyLimits(), ())


def take(reply: ReplyParser, data: object, event: str = "message") -> str | None:
    return reply.take(SseEvent(event, json.dumps(data), ""))


def delta(reason: str | None = None, **fields: object) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": reason}]}


def call(
    index: int | None, call_id: str | None, name: str | None, arguments: str
) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    item = {"index": index, "id": call_id, "function": function}
    return delta(tool_calls=[{key: value for key, value in item.items() if value is not None}])


def finish(reply: OpenAIReply, reason: str = "tool_calls") -> None:
    take(reply, delta(reason))
    reply.take(SseEvent("message", "[DONE]", ""))


# OpenAI


def test_text_thinking_and_keep_alives_are_told_apart() -> None:
    reply = openai()

    assert take(reply, delta(content="Hi")) == "Hi"
    assert take(reply, delta(refusal="No")) == "No"
    assert take(reply, delta(reasoning_content="hm")) == ""
    assert take(reply, delta(role="assistant", content="")) is None
    assert take(reply, {"choices": []}) is None
    assert take(reply, {"choices": [{"index": 1, "delta": {"content": "other"}}]}) is None


def test_parallel_calls_grow_side_by_side() -> None:
    reply = openai()
    for event in (call(0, "a", "f", "{"), call(1, "b", "g", "{}"), call(0, None, None, "}")):
        take(reply, event)
    finish(reply)

    assert [(c.call_id, c.name, c.arguments) for c in reply.end().tool_calls] == [
        ("a", "f", "{}"),
        ("b", "g", "{}"),
    ]


def test_whole_calls_that_share_an_index_or_have_none_are_several() -> None:
    """Law: what some compatible servers send (every call at index 0, or without one) is kept."""
    for index in (0, None):
        reply = openai()
        take(reply, call(index, "a", "f", "{}"))
        take(reply, call(index, "b", "g", ""))
        finish(reply)

        assert [c.name for c in reply.end().tool_calls] == ["f", "g"]
        assert reply.end().tool_calls[1].arguments == "{}"


def test_ids_that_repeat_or_are_missing_become_unique() -> None:
    reply = openai()
    for event in (call(0, "a", "f", ""), call(1, "a", "f", ""), call(2, None, "f", "")):
        take(reply, event)
    finish(reply)

    assert len({c.call_id for c in reply.end().tool_calls}) == 3


@pytest.mark.parametrize("reason", ["stop", "length"])
def test_the_end_needs_both_a_finish_reason_and_done(reason: str) -> None:
    reply = openai()
    with pytest.raises(StreamIncompleteError):
        reply.end()
    take(reply, delta(reason))
    with pytest.raises(StreamIncompleteError):
        reply.end()
    reply.take(SseEvent("message", "[DONE]", ""))

    assert reply.end().stop_reason == reason


def test_done_alone_is_no_end() -> None:
    reply = openai()
    reply.take(SseEvent("message", "[DONE]", ""))

    with pytest.raises(StreamIncompleteError, match="finish_reason"):
        reply.end()


def test_nothing_after_the_end_is_read() -> None:
    reply = openai()
    finish(reply, "stop")

    assert reply.take(SseEvent("message", "garbage", "")) is None


def test_openai_usage_counts_cached_tokens_in_the_input() -> None:
    reply = openai()
    details = {"cached_tokens": 7}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": details}
    take(reply, {"choices": [], "usage": usage})
    finish(reply, "stop")

    assert reply.end().usage == TokenUsage(input_tokens=9, output_tokens=2, cached_tokens=7)


def test_numbers_that_are_null_count_nothing() -> None:
    reply = openai()
    take(reply, {"usage": {"prompt_tokens": None, "completion_tokens": 2}, "choices": None})
    finish(reply, "stop")

    assert reply.end().usage == TokenUsage(input_tokens=0, output_tokens=2)


def test_a_call_without_a_name_is_malformed() -> None:
    reply = openai()
    take(reply, call(0, "a", None, "{}"))
    finish(reply)

    with pytest.raises(MalformedReplyError, match="no name"):
        reply.end()


@pytest.mark.parametrize(
    "data",
    [
        {"choices": {"delta": []}},
        {"choices": [7]},
        delta(content=7),
        delta(content=["x"]),
        delta(tool_calls=7),
        delta(tool_calls=[7]),
        delta(tool_calls=[{"index": "0"}]),
        delta(tool_calls=[{"index": -5}]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": {}}}]),
        {"choices": [{"delta": 7}]},
        {"usage": 7},
        {"usage": {"prompt_tokens": -1}},
        {"usage": {"prompt_tokens": True}},
        {"usage": {"prompt_tokens": 1.5}},
        {"usage": {"prompt_tokens": 10**12}},
        [],
        "text",
    ],
)
def test_wrong_types_are_malformed(data: object) -> None:
    with pytest.raises(MalformedReplyError):
        take(openai(), data)


@pytest.mark.parametrize(
    "text", ["", "{", "nul", '{"usage": NaN}', '{"a": Infinity}', "[" * 5000, "9" * 5000]
)
def test_what_is_not_json_is_malformed(text: str) -> None:
    with pytest.raises(MalformedReplyError):
        openai().take(SseEvent("message", text, ""))


def test_an_error_object_or_event_breaks_off() -> None:
    with pytest.raises(ModelUnavailableError, match="busy"):
        take(openai(), {"error": {"message": "busy"}})
    with pytest.raises(ModelUnavailableError, match="busy"):
        take(openai(), {"message": "busy"}, event="error")


# Limits and text, shared


def test_text_is_cut_at_its_limit_in_bytes() -> None:
    reply = openai(LIMITS)
    take(reply, delta(content="éé"))
    take(reply, delta(content="123456"))

    with pytest.raises(ReplyTooLargeError, match="10 bytes"):
        take(reply, delta(content="7"))


def test_tool_calls_are_cut_at_their_limit() -> None:
    reply = openai(LIMITS)
    take(reply, call(0, "a", "f", ""))
    take(reply, call(1, "b", "f", ""))

    with pytest.raises(ReplyTooLargeError, match="2 tool calls"):
        take(reply, call(2, "c", "f", ""))


def test_arguments_are_cut_at_their_limit() -> None:
    reply = openai(LIMITS)
    take(reply, call(0, "a", "f", "é" * 4))

    with pytest.raises(ReplyTooLargeError, match="8 bytes"):
        take(reply, call(0, None, None, "x"))


def test_a_surrogate_pair_split_over_two_events_stays_one_character() -> None:
    reply = openai()

    assert take(reply, delta(content="a\ud83d")) == "a"
    assert take(reply, delta(content="\ude00b")) == "😀b"


@given(st.text(st.characters(codec=None, categories=None), max_size=50))
def test_cleaned_text_is_utf8_without_nul(text: str) -> None:
    cleaned = clean(text)

    assert "\0" not in cleaned
    assert cleaned.encode().decode() == cleaned


# Anthropic


def block(index: int, **fields: object) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": fields}


def piece(index: int, kind: str, **fields: object) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(reply: AnthropicReply, reason: str | None = "end_turn", **usage: int) -> None:
    take(reply, {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage})
    take(reply, {"type": "message_stop"})


def test_anthropic_blocks_become_text_and_calls() -> None:
    reply = anthropic()

    assert take(reply, {"type": "ping"}) is None
    assert take(reply, block(0, type="text", text="")) == ""
    assert take(reply, piece(0, "text_delta", text="Hi")) == "Hi"
    assert take(reply, piece(0, "text_delta", text="")) is None
    assert take(reply, piece(1, "thinking_delta", thinking="hm")) == ""
    take(reply, block(1, type="tool_use", id="a", name="f", input={}))
    for text in ("", '{"x"', ": 1}"):
        assert take(reply, piece(1, "input_json_delta", partial_json=text)) == ""
    take(reply, block(2, type="tool_use", id="b", name="g", input={"y": 2}))
    take(reply, block(3, type="text", text="given at once"))
    stop(reply, "tool_use")

    end = reply.end()
    assert end.stop_reason == "tool_calls"
    assert [(c.call_id, c.name, c.arguments) for c in end.tool_calls] == [
        ("a", "f", '{"x": 1}'),
        ("b", "g", '{"y": 2}'),
    ]


def test_anthropic_usage_adds_the_parts_of_the_input() -> None:
    reply = anthropic()
    counts = {"input_tokens": 5, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2}
    take(reply, {"type": "message_start", "message": {"usage": {**counts, "output_tokens": 1}}})
    stop(reply, output_tokens=8)

    assert reply.end().usage == TokenUsage(input_tokens=10, output_tokens=8, cached_tokens=3)


def test_thinking_is_counted_and_not_kept() -> None:
    said, thought = openai(), anthropic()
    take(said, delta(role="assistant", content="hi"))
    take(said, delta(reasoning_content="hmé", reasoning_details=[{"a": 1}], content=None))
    take(thought, piece(0, "thinking_delta", thinking="hm", signature="s"))
    take(thought, piece(1, "text_delta", text="hi"))
    finish(said, "stop")
    stop(thought)

    assert said.end().thought_bytes == 4 + len('[{"a": 1}]')
    assert thought.end().thought_bytes == 3


def test_anthropic_without_usage_says_none() -> None:
    reply = anthropic()
    stop(reply)

    assert reply.end().usage is None


def test_a_server_tools_input_is_progress_and_no_call() -> None:
    reply = anthropic()
    take(reply, block(0, type="server_tool_use", id="s", name="search"))
    take(reply, piece(0, "input_json_delta", partial_json="{}"))
    stop(reply, "pause_turn")

    assert reply.end().tool_calls == ()
    assert reply.end().stop_reason == "pause_turn"


def test_the_end_needs_both_a_stop_reason_and_message_stop() -> None:
    reply = anthropic()
    stop(reply, None)
    with pytest.raises(StreamIncompleteError, match="stop reason"):
        reply.end()
    reply = anthropic()
    take(reply, {"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    with pytest.raises(StreamIncompleteError, match="message_stop"):
        reply.end()


def test_nothing_after_message_stop_is_read() -> None:
    reply = anthropic()
    stop(reply)

    assert reply.take(SseEvent("message", "garbage", "")) is None


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"type": 7},
        piece(0, "text_delta", text=7),
        {"type": "content_block_delta", "delta": 7},
        block(-1, type="tool_use", id="a", name="f"),
        block(0, type="tool_use", id=7, name="f"),
        block(0, type="tool_use", id="a", name="f", input=[]),
        {"type": "message_start", "message": {"usage": {"input_tokens": "5"}}},
        {"type": "message_delta", "delta": {"stop_reason": 7}},
    ],
)
def test_anthropic_wrong_types_are_malformed(data: object) -> None:
    with pytest.raises(MalformedReplyError):
        take(anthropic(), data)


def test_two_calls_at_one_index_are_malformed() -> None:
    reply = anthropic()
    take(reply, block(0, type="tool_use", id="a", name="f"))

    with pytest.raises(MalformedReplyError, match="taken"):
        take(reply, block(0, type="tool_use", id="b", name="f"))


def test_an_anthropic_error_event_breaks_off() -> None:
    with pytest.raises(ModelUnavailableError, match="overloaded_error"):
        take(anthropic(), {"type": "error", "error": {"type": "overloaded_error"}})


def test_kinds_unknown_here_pass_by() -> None:
    assert take(anthropic(), {"type": "something_new"}) is None
