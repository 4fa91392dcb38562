"""A reply while it grows: text, tool calls and their limits. Knows no vendor's wire format."""

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from adapters.llm.sse import SseEvent
from adapters.llm.values import clean, ends_in_half_pair, malformed
from domain.chat import StreamEnd, ToolCallRequest
from domain.errors import ReplyTooLargeError


@dataclass(frozen=True, slots=True)
class ReplyLimits:
    """How large a reply may grow before it is cut with `ReplyTooLargeError`."""

    max_text_bytes: int = 2 * 1024 * 1024
    max_tool_calls: int = 128
    max_argument_bytes: int = 256 * 1024
    """Per tool call."""


class ReplyParser(Protocol):
    """A vendor's reading of its own events."""

    is_complete: bool
    """The terminal marker arrived; nothing after it is read."""

    @property
    def hidden_bytes(self) -> int:
        """How much came besides text: thinking and tool calls' arguments."""
        ...

    def take(self, event: SseEvent) -> str | None:
        """Return the text of `event`, "" for progress without text, None for a keep-alive."""
        ...

    def end(self) -> StreamEnd:
        """Return the end of the reply.

        Raises:
            StreamIncompleteError: the terminal marker has not arrived.
        """
        ...


@dataclass(slots=True)
class _CallDraft:
    call_id: str
    name: str
    pieces: list[str] = field(default_factory=list)
    size: int = 0


class ReplyDraft:
    """Collects what a reply holds and refuses what is too much of it."""

    def __init__(self, provider: str, limits: ReplyLimits) -> None:
        self.provider = provider
        self._limits = limits
        self._text_bytes = 0
        self.thought_bytes = 0
        self.hidden_bytes = 0
        """What came besides text: thinking and arguments."""
        self._half_pair = ""
        self._calls: list[_CallDraft] = []

    def add_text(self, piece: str) -> str:
        """Count `piece` and return the part of it that may be shown now.

        A surrogate pair that the provider split over two events is kept together.
        """
        if piece.isascii() and not self._half_pair:
            self._count_text(len(piece))
            return clean(piece)
        piece = self._half_pair + piece
        self._half_pair = ""
        if ends_in_half_pair(piece):
            self._half_pair, piece = piece[-1], piece[:-1]
        piece = clean(piece)
        self._count_text(len(piece.encode()))
        return piece

    def add_thoughts(self, delta: dict[str, Any], said: frozenset[str]) -> None:
        """Count what a piece holds besides the fields that are `said`; it is not kept."""
        for name in delta.keys() - said:
            if delta[name]:
                size = self._size_of(delta[name])
                self.thought_bytes += size
                self.hidden_bytes += size

    def _size_of(self, value: object) -> int:
        try:
            text = value if isinstance(value, str) else json.dumps(value)
        except RecursionError as error:
            raise malformed(self.provider, "delta: it is nested too deep") from error
        return len(text.encode("utf-8", "replace"))

    def _count_text(self, size: int) -> None:
        self._text_bytes += size
        if self._text_bytes > self._limits.max_text_bytes:
            raise ReplyTooLargeError(
                f"the reply of {self.provider} is longer than {self._limits.max_text_bytes} bytes"
            )

    def open_call(self, call_id: str, name: str) -> int:
        """Begin a tool call and return its place in the reply, from 0."""
        if len(self._calls) >= self._limits.max_tool_calls:
            raise ReplyTooLargeError(
                f"{self.provider} asked for more than {self._limits.max_tool_calls} tool calls"
            )
        self._calls.append(_CallDraft(call_id, name))
        return len(self._calls) - 1

    def call(self, place: int) -> _CallDraft:
        """Return the call at `place`."""
        return self._calls[place]

    def call_count(self) -> int:
        """Return how many tool calls have begun."""
        return len(self._calls)

    def add_arguments(self, place: int, piece: str) -> None:
        """Append to the argument text of the call at `place`."""
        call = self._calls[place]
        size = len(piece) if piece.isascii() else len(piece.encode("utf-8", "replace"))
        call.size += size
        self.hidden_bytes += size
        if call.size > self._limits.max_argument_bytes:
            limit = self._limits.max_argument_bytes
            raise ReplyTooLargeError(
                f"{self.provider} sent more than {limit} bytes of arguments for one tool call"
            )
        call.pieces.append(piece)

    def tool_calls(self) -> tuple[ToolCallRequest, ...]:
        """Return the finished calls, each with an id of its own.

        Raises:
            MalformedReplyError: a call has no name.
        """
        taken: set[str] = set()
        return tuple(self._finish(place, call, taken) for place, call in enumerate(self._calls))

    def _finish(self, place: int, call: _CallDraft, taken: set[str]) -> ToolCallRequest:
        name = clean(call.name)
        if not name:
            raise malformed(self.provider, "tool call: it has no name")
        call_id = clean(call.call_id) or f"call_{place}"
        # Compatible servers number calls per chunk: the contract wants unique ids.
        if call_id in taken:
            call_id = f"{call_id}_{place}"
        taken.add(call_id)
        return ToolCallRequest(
            call_id=call_id, name=name, arguments=clean("".join(call.pieces)) or "{}"
        )
