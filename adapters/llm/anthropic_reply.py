"""The events of one Anthropic messages stream. Knows no HTTP."""

import json
from typing import Any

from adapters.llm.refusals import stream_error
from adapters.llm.reply import ReplyDraft, ReplyLimits
from adapters.llm.sse import SseEvent
from adapters.llm.values import as_count, as_object, as_text, decode_object, malformed
from domain.chat import StreamEnd, TokenUsage
from domain.errors import StreamIncompleteError

_PROVIDER = "anthropic"
_STOP_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Anthropic's word to ours; one that is not listed is passed on."""
_INPUT_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""Anthropic counts these apart; our `input_tokens` is their sum."""

_SAID = frozenset({"type", "text", "partial_json"})
"""Fields of a piece that are kept, or say nothing; the others are thinking."""


class AnthropicReply:
    """Reads text and tool calls; thinking and kinds unknown here are progress without text."""

    def __init__(self, limits: ReplyLimits, secrets: tuple[str, ...]) -> None:
        self.is_complete = False
        self._secrets = secrets
        self._draft = ReplyDraft(_PROVIDER, limits)
        self._places: dict[int, int] = {}
        self._first_input: dict[int, dict[str, Any]] = {}
        self._stop_reason = ""
        self._counts: dict[str, int] = {}

    def take(self, event: SseEvent) -> str | None:
        """Return the text of one event; see `ReplyParser`."""
        if self.is_complete:
            return None
        data = decode_object(_PROVIDER, event.data)
        kind = data.get("type")
        if kind == "content_block_delta":
            return self._take_delta(data)
        if kind == "content_block_start":
            return self._take_start(data)
        self._take_frame(kind, data)
        return None

    def _take_frame(self, kind: object, data: dict[str, Any]) -> None:
        """Take what frames the content; pings and kinds unknown here pass by."""
        if kind == "message_start":
            message = as_object(_PROVIDER, data.get("message"), "message")
            self._count(message.get("usage"))
        elif kind == "message_delta":
            self._take_message_delta(data)
        elif kind == "message_stop":
            self.is_complete = True
        elif kind == "error":
            raise stream_error(_PROVIDER, data.get("error"), self._secrets)
        elif type(kind) is not str:
            raise malformed(_PROVIDER, "event: it has no type")

    @property
    def hidden_bytes(self) -> int:
        """How much came besides text; see `ReplyParser`."""
        return self._draft.hidden_bytes

    def end(self) -> StreamEnd:
        """Return the end of the reply; see `ReplyParser`."""
        if not (self.is_complete and self._stop_reason):
            missing = "message_stop" if self._stop_reason else "a stop reason"
            raise StreamIncompleteError(
                f"the stream of anthropic ended without {missing}; its text is no answer"
            )
        for index, value in self._first_input.items():
            self._draft.add_arguments(self._places[index], json.dumps(value))
        return StreamEnd(
            stop_reason=_STOP_REASONS.get(self._stop_reason, self._stop_reason),
            tool_calls=self._draft.tool_calls(),
            usage=self._usage(),
            thought_bytes=self._draft.thought_bytes,
        )

    def _take_delta(self, data: dict[str, Any]) -> str | None:
        delta = as_object(_PROVIDER, data.get("delta"), "delta")
        kind = delta.get("type")
        if kind == "text_delta":
            text = as_text(_PROVIDER, delta.get("text"), "text")
            return self._draft.add_text(text) if text else None
        if kind != "input_json_delta":
            self._draft.add_thoughts(delta, _SAID)
            return ""
        index = self._index(data)
        piece = as_text(_PROVIDER, delta.get("partial_json"), "tool arguments")
        if index in self._places and piece:
            self._first_input.pop(index, None)
            self._draft.add_arguments(self._places[index], piece)
        return ""

    def _take_start(self, data: dict[str, Any]) -> str:
        block = as_object(_PROVIDER, data.get("content_block"), "content block")
        if block.get("type") == "text":
            text = as_text(_PROVIDER, block.get("text"), "text")
            return self._draft.add_text(text) if text else ""
        if block.get("type") == "tool_use":
            index = self._index(data)
            if index in self._places:
                raise malformed(_PROVIDER, "content block: its index is taken")
            call_id = as_text(_PROVIDER, block.get("id"), "tool call id")
            name = as_text(_PROVIDER, block.get("name"), "tool name")
            self._places[index] = self._draft.open_call(call_id, name)
            given = as_object(_PROVIDER, block.get("input"), "tool arguments")
            if given:
                self._first_input[index] = given
        else:
            self._draft.add_thoughts(block, _SAID)
        return ""

    def _take_message_delta(self, data: dict[str, Any]) -> None:
        delta = as_object(_PROVIDER, data.get("delta"), "message delta")
        reason = as_text(_PROVIDER, delta.get("stop_reason"), "stop reason")
        self._stop_reason = reason or self._stop_reason
        self._count(data.get("usage"))

    def _index(self, data: dict[str, Any]) -> int:
        return as_count(_PROVIDER, data.get("index"), "content block index")

    def _count(self, usage: object) -> None:
        """Take over what `usage` names; its numbers are totals so far."""
        counts = as_object(_PROVIDER, usage, "usage")
        for name in (*_INPUT_COUNTS, "output_tokens"):
            if counts.get(name) is not None:
                self._counts[name] = as_count(_PROVIDER, counts[name], "usage")

    def _usage(self) -> TokenUsage | None:
        if not self._counts:
            return None
        return TokenUsage(
            input_tokens=sum(self._counts.get(name, 0) for name in _INPUT_COUNTS),
            output_tokens=self._counts.get("output_tokens", 0),
            cached_tokens=self._counts.get("cache_read_input_tokens", 0),
        )
