"""The events of one OpenAI chat completion stream. Knows no HTTP."""

from typing import Any

from adapters.llm.refusals import stream_error
from adapters.llm.reply import ReplyDraft, ReplyLimits
from adapters.llm.sse import SseEvent
from adapters.llm.values import as_count, as_object, as_text, decode_object, malformed
from domain.chat import StreamEnd, TokenUsage
from domain.errors import StreamIncompleteError

_SAID = frozenset({"role", "content", "refusal", "tool_calls"})
"""Fields of a piece that are kept, or say nothing; the others are thinking."""


class OpenAIReply:
    """Reads chunks of the first choice; every other choice is ignored."""

    def __init__(self, provider: str, limits: ReplyLimits, secrets: tuple[str, ...]) -> None:
        self.is_complete = False
        self._provider = provider
        self._secrets = secrets
        self._draft = ReplyDraft(provider, limits)
        self._places: dict[int, int] = {}
        self._finish_reason = ""
        self._usage: TokenUsage | None = None

    def take(self, event: SseEvent) -> str | None:
        """Return the text of one event; see `ReplyParser`."""
        if self.is_complete or event.data == "[DONE]":
            self.is_complete = True
            return None
        chunk = decode_object(self._provider, event.data)
        if event.event == "error" or chunk.get("error"):
            raise stream_error(self._provider, chunk.get("error") or chunk, self._secrets)
        if chunk.get("usage") is not None:
            self._usage = self._read_usage(chunk["usage"])
        choices = chunk.get("choices")
        if not choices:
            return None
        if type(choices) is not list or type(choices[0]) is not dict:
            raise malformed(self._provider, "choice")
        return self._take_choice(choices[0])

    @property
    def hidden_bytes(self) -> int:
        """How much came besides text; see `ReplyParser`."""
        return self._draft.hidden_bytes

    def end(self) -> StreamEnd:
        """Return the end of the reply; see `ReplyParser`."""
        if not (self.is_complete and self._finish_reason):
            missing = "[DONE]" if self._finish_reason else "finish_reason"
            raise StreamIncompleteError(
                f"the stream of {self._provider} ended without {missing}; its text is no answer"
            )
        return StreamEnd(
            stop_reason=self._finish_reason,
            tool_calls=self._draft.tool_calls(),
            usage=self._usage,
            thought_bytes=self._draft.thought_bytes,
        )

    def _take_choice(self, choice: dict[str, Any]) -> str | None:
        if choice.get("index"):
            return None
        reason = choice.get("finish_reason")
        if reason:
            self._finish_reason = as_text(self._provider, reason, "finish_reason")
        delta = as_object(self._provider, choice.get("delta"), "delta")
        self._draft.add_thoughts(delta, _SAID)
        text = as_text(self._provider, delta.get("content"), "content")
        if not text:
            text = as_text(self._provider, delta.get("refusal"), "refusal")
        tool_calls = delta.get("tool_calls")
        if tool_calls:
            self._take_tool_calls(tool_calls)
        if text:
            return self._draft.add_text(text)
        # Thinking, under any of its names, is progress; an empty delta is a keep-alive.
        return "" if reason or any(delta[key] for key in delta if key != "role") else None

    def _take_tool_calls(self, deltas: object) -> None:
        if type(deltas) is not list:
            raise malformed(self._provider, "tool_calls")
        for item in deltas:
            delta = as_object(self._provider, item, "tool call")
            function = as_object(self._provider, delta.get("function"), "tool call")
            call_id = as_text(self._provider, delta.get("id"), "tool call id")
            name = as_text(self._provider, function.get("name"), "tool name")
            arguments = as_text(self._provider, function.get("arguments"), "tool arguments")
            place = self._place(delta.get("index"), call_id, name)
            self._draft.add_arguments(place, arguments)

    def _place(self, index: object, call_id: str, name: str) -> int:
        """Return which call a delta belongs to, beginning it when it is new.

        Some compatible servers send every call at index 0 or none: a name with another id begins
        a new call there.
        """
        if index is None:
            index = self._draft.call_count() - 1 if not name else self._draft.call_count()
        if type(index) is not int or not -1 <= index <= 1_000_000:
            raise malformed(self._provider, "tool call index")
        place = self._places.get(index)
        if place is not None:
            call = self._draft.call(place)
            if not (name and call_id and call.call_id and call_id != call.call_id):
                call.call_id = call.call_id or call_id
                call.name = call.name or name
                return place
        self._places[index] = self._draft.open_call(call_id, name)
        return self._places[index]

    def _read_usage(self, value: object) -> TokenUsage:
        usage = as_object(self._provider, value, "usage")
        details = as_object(self._provider, usage.get("prompt_tokens_details"), "usage")
        return TokenUsage(
            input_tokens=as_count(self._provider, usage.get("prompt_tokens"), "usage"),
            output_tokens=as_count(self._provider, usage.get("completion_tokens"), "usage"),
            cached_tokens=as_count(self._provider, details.get("cached_tokens"), "usage"),
        )
