"""The readers of both vendors' events: garbage of any shape is one of our errors, or no text."""

import json

from hypothesis import given
from hypothesis import strategies as st

from adapters.llm.anthropic_reply import AnthropicReply
from adapters.llm.openai_reply import OpenAIReply
from adapters.llm.reply import ReplyLimits, ReplyParser
from adapters.llm.sse import SseEvent
from domain.errors import OrchestratorError

_NAMES = [
    "choices", "delta", "index", "content", "tool_calls", "function", "arguments", "name", "id",
    "usage", "prompt_tokens", "finish_reason", "error", "type", "content_block", "message", "text",
    "partial_json", "stop_reason", "input_tokens",
]  # fmt: skip
_WORDS = [
    "message_start", "content_block_start", "content_block_delta", "message_delta", "error",
    "tool_use", "text", "text_delta", "input_json_delta", "stop", "\ud800", "a\0b", "x",
]  # fmt: skip
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(_WORDS)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_NAMES), inner, max_size=6)
    ),
    max_leaves=12,
)


def _reader(is_openai: bool) -> ReplyParser:
    limits = ReplyLimits()
    return OpenAIReply("openai", limits, ()) if is_openai else AnthropicReply(limits, ())


@given(st.lists(_JSON, max_size=5), st.booleans())
def test_no_event_whatever_its_shape_escapes_as_anything_but_our_errors(
    events: list[object], is_openai: bool
) -> None:
    reply = _reader(is_openai)
    try:
        texts = [reply.take(SseEvent("message", json.dumps(event), "")) for event in events]
        reply.end()
    except OrchestratorError as error:
        error.message.encode()
    else:
        assert all(text is None or text.encode() is not None for text in texts)
