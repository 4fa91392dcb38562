"""The two wire formats the stub speaks: what an event looks like. Knows no timing and no faults."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Call = tuple[str, str, str]
"""A tool call: id, name, arguments as JSON text."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the stub reports them; `input` includes `cached`."""

    input: int
    output: int
    cached: int = 0


class Wire(Protocol):
    """One vendor's stream, event by event, as bytes ready to send."""

    def opening(self, model: str, usage: Usage, /) -> list[bytes]:
        """Return what comes before the text."""
        ...

    def text(self, text: str) -> bytes:
        """Return a piece of text."""
        ...

    def calls(self, calls: Sequence[Call]) -> list[bytes]:
        """Return tool calls, their arguments in two pieces."""
        ...

    def finish(self, reason: str, usage: Usage | None) -> list[bytes]:
        """Return the stop reason and usage."""
        ...

    def done(self) -> bytes:
        """Return the terminal marker."""
        ...

    def error(self, kind: str, message: str) -> bytes:
        """Return an error inside the stream."""
        ...

    def error_body(self, kind: str, message: str) -> dict[str, Any]:
        """Return the body of a refusal."""
        ...

    def keepalives(self) -> list[bytes]:
        """Return what says nothing: to be sent in turn."""
        ...

    def raw(self, data: str) -> bytes:
        """Return an event whose data is `data`, whatever it is."""
        ...


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def _openai_counts(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }


def openai_whole(
    head: tuple[str, str], text: str, calls: Sequence[Call], usage: Usage | None
) -> dict[str, Any]:
    """Return an answer that is no stream; `head` is the model and why the answer ended."""
    model, reason = head
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
            for call_id, name, arguments in calls
        ]
    choice = {"index": 0, "message": message, "finish_reason": reason}
    whole = {"id": "chatcmpl-stub", "object": "chat.completion", "created": 1, "model": model}
    counts = None if usage is None else _openai_counts(usage)
    return whole | {"choices": [choice], "usage": counts, "x_stub": "passed on"}


class OpenAIWire:
    """Chat completion chunks."""

    def __init__(self) -> None:
        self._head = ""

    def opening(self, model: str, _: Usage, /) -> list[bytes]:
        fields = {"id": "chatcmpl-stub", "object": "chat.completion.chunk", "created": 1}
        self._head = json.dumps(fields | {"model": model})[:-1]
        return [self._chunk({"role": "assistant", "content": ""})]

    def text(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def calls(self, calls: Sequence[Call]) -> list[bytes]:
        events = []
        for index, (call_id, name, arguments) in enumerate(calls):
            first, second = _halves(arguments)
            opened = {"name": name, "arguments": first}
            head = {"index": index, "id": call_id, "type": "function", "function": opened}
            tail = {"index": index, "function": {"arguments": second}}
            events += [self._chunk({"tool_calls": [head]}), self._chunk({"tool_calls": [tail]})]
        return events

    def finish(self, reason: str, usage: Usage | None) -> list[bytes]:
        events = [self._chunk({}, reason)] if reason else []
        if usage is not None:
            counts = json.dumps(_openai_counts(usage))
            events.append(self.raw(f'{self._head}, "choices": [], "usage": {counts}}}'))
        return events

    def done(self) -> bytes:
        return b"data: [DONE]\n\n"

    def error(self, kind: str, message: str) -> bytes:
        return self.raw(json.dumps(self.error_body(kind, message)))

    def error_body(self, kind: str, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}

    def keepalives(self) -> list[bytes]:
        return [b": keep-alive\n\n", self._chunk({"role": "assistant", "content": ""})]

    def raw(self, data: str) -> bytes:
        return f"data: {data}\n\n".encode("utf-8", "surrogatepass")

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = json.dumps({"index": 0, "delta": delta, "finish_reason": reason})
        return self.raw(f'{self._head}, "choices": [{choice}]}}')


class AnthropicWire:
    """Message events."""

    def __init__(self) -> None:
        self._text_opened = False
        self._blocks = 0

    def opening(self, model: str, usage: Usage, /) -> list[bytes]:
        counts = {
            "input_tokens": usage.input - usage.cached,
            "cache_read_input_tokens": usage.cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": 1,
        }
        message: dict[str, Any] = {"id": "msg_stub", "type": "message", "role": "assistant"}
        message |= {"content": [], "model": model, "stop_reason": None, "usage": counts}
        return [self._event("message_start", {"message": message}), self._event("ping", {})]

    def text(self, text: str) -> bytes:
        opened = b"" if self._text_opened else self._open({"type": "text", "text": ""})
        self._text_opened = True
        delta = {"index": self._blocks, "delta": {"type": "text_delta", "text": text}}
        return opened + self._event("content_block_delta", delta)

    def calls(self, calls: Sequence[Call]) -> list[bytes]:
        events = self._close_text()
        for call_id, name, arguments in calls:
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            events.append(self._open(block))
            for piece in ("", *_halves(arguments)):
                delta = {"type": "input_json_delta", "partial_json": piece}
                fields = {"index": self._blocks, "delta": delta}
                events.append(self._event("content_block_delta", fields))
            events.append(self._event("content_block_stop", {"index": self._blocks}))
            self._blocks += 1
        return events

    def finish(self, reason: str, usage: Usage | None) -> list[bytes]:
        fields: dict[str, Any] = {"delta": {"stop_reason": reason or None, "stop_sequence": None}}
        if usage is not None:
            fields["usage"] = {"output_tokens": usage.output}
        return [*self._close_text(), self._event("message_delta", fields)]

    def done(self) -> bytes:
        return self._event("message_stop", {})

    def error(self, kind: str, message: str) -> bytes:
        return self._event("error", {"error": {"type": kind, "message": message}})

    def error_body(self, kind: str, message: str) -> dict[str, Any]:
        return {"type": "error", "error": {"type": kind, "message": message}}

    def keepalives(self) -> list[bytes]:
        return [b": keep-alive\n\n", self._event("ping", {})]

    def raw(self, data: str) -> bytes:
        return f"event: content_block_delta\ndata: {data}\n\n".encode("utf-8", "surrogatepass")

    def _open(self, block: dict[str, Any]) -> bytes:
        return self._event("content_block_start", {"index": self._blocks, "content_block": block})

    def _close_text(self) -> list[bytes]:
        if not self._text_opened:
            return []
        self._text_opened = False
        self._blocks += 1
        return [self._event("content_block_stop", {"index": self._blocks - 1})]

    def _event(self, kind: str, fields: dict[str, Any]) -> bytes:
        data = json.dumps({"type": kind} | fields)
        return f"event: {kind}\ndata: {data}\n\n".encode("utf-8", "surrogatepass")
