"""A look at a stream of chat completion chunks on its way through: as little as is needed.

Up to the first content every event is read, so that a provider that sends nonsense is noticed while
another can still be asked. After it bytes are only searched for what is needed: the usage, why the
answer ended, its terminal marker, an error. Those few events are read; all others go through as
they came. Text inside JSON cannot be mistaken for them: quotes in it are escaped, lines never end.
"""

import re
from typing import Any

from adapters.llm.refusals import stream_error
from adapters.llm.values import as_count, as_object, as_text, decode_object, malformed
from domain.chat import TokenUsage
from domain.errors import MalformedReplyError, ReplyTooLargeError, StreamIncompleteError

_SIGN = re.compile(
    rb'"usage"\s*:\s*\{|"finish_reason"\s*:\s*"|"error"\s*:\s*[{"]|^event:\s*error'
    rb"|^data:\s*\[DONE\]",
    re.MULTILINE,
)
_PROGRESS = re.compile(
    rb'"(?:content|reasoning\w*|thinking|refusal|arguments|name|text|data)"\s*:\s*"[^"]'
)
"""Text of any kind in a delta; an empty delta and a comment are keep-alives."""
_EVENT_END = re.compile(rb"(?:\r?\n){2}")
_BOM = b"\xef\xbb\xbf"
MOST_EVENT_BYTES = 8 * 1024 * 1024
MOST_BYTES = 256 * 1024 * 1024
"""Of one answer, its framing included: some hundred bytes around each token."""


class StreamScan:
    """One answer's events, in blocks ready to be sent on.

    Args:
        provider: its name, for errors.
        shows_usage: whether the caller asked for the chunk that holds nothing but the usage.
        secrets: what no error may repeat.
    """

    def __init__(self, provider: str, *, shows_usage: bool, secrets: tuple[str, ...]) -> None:
        self._provider = provider
        self._shows_usage = shows_usage
        self._secrets = secrets
        self._tail = _BOM
        self._is_new = True
        self._size = 0
        self.events = 0
        self.usage: TokenUsage | None = None
        self.stop_reason: str | None = None
        self.has_content = False
        self.has_progress = False
        """Whether the last bytes held anything but keep-alives."""
        self.is_complete = False

    def feed(self, data: bytes) -> bytes:
        """Return the whole events that `data` completes, without those the caller is not shown.

        Raises:
            ModelError: the provider says that it failed, or what it sends is none of its events.
            ReplyTooLargeError: the answer or an event is too large.
        """
        self._size += len(data)
        self.events += data.count(b"\n\n") or data.count(b"\n\r\n")
        if self._is_new:
            self._is_new, self._tail = False, b""
            data = data.removeprefix(_BOM)
        if self._tail:
            data = self._tail + data
        end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4)
        # What `rfind` did not find makes one of the two small numbers: -1 + 2, -1 + 4.
        block, self._tail = (data[:end], data[end:]) if end > 3 else (b"", data)
        if self._size > MOST_BYTES or len(self._tail) > MOST_EVENT_BYTES:
            raise ReplyTooLargeError(f"the answer of {self._provider} is larger than is passed on")
        self.has_progress = False
        if not block:
            return b""
        if not self.has_content or _SIGN.search(block):
            return self._read(block)
        self.has_progress = _PROGRESS.search(block) is not None
        return block

    def end(self) -> None:
        """Check that the answer is whole.

        Raises:
            StreamIncompleteError: the terminal marker has not arrived.
        """
        if not self.is_complete:
            raise self._incomplete()

    def _incomplete(self) -> StreamIncompleteError:
        missing = "[DONE]" if self.stop_reason else "finish_reason"
        return StreamIncompleteError(
            f"the stream of {self._provider} ended without {missing}; its text is no answer"
        )

    def _read(self, block: bytes) -> bytes:
        """Read what has to be read of a block, and leave out what the caller is not shown."""
        kept: list[bytes] = []
        start = 0
        while start < len(block) and not self.is_complete:
            at, end = start, len(block)
            if self.has_content:
                sign = _SIGN.search(block, start)
                if sign is None:
                    break
                before = block.rfind(b"\n\n", start, sign.start())
                # Where lines end as on Windows, every event up to it is read.
                at = start if before < 0 else before + 2
            match = _EVENT_END.search(block, at)
            end = match.end() if match else end
            kept.append(block[start:at])
            if self._take(block[at:end]):
                kept.append(block[at:end])
            start = end
        if not self.is_complete:
            kept.append(block[start:])
        return b"".join(kept)

    def _take(self, event: bytes) -> bool:
        """Read one event; say whether the caller is shown it."""
        kind, data = _fields(event)
        if not data:
            return True
        if data == b"[DONE]":
            self._finish()
            return True
        chunk = decode_object(self._provider, data.decode("utf-8", "replace"))
        if kind == b"error" or chunk.get("error"):
            raise stream_error(self._provider, chunk.get("error") or chunk, self._secrets)
        return self._take_chunk(chunk)

    def _finish(self) -> None:
        if self.stop_reason is None:
            raise self._incomplete()
        self.is_complete = self.has_progress = True

    def _take_chunk(self, chunk: dict[str, Any]) -> bool:
        if chunk.get("usage") is not None:
            self._take_usage(chunk["usage"])
        choices = chunk.get("choices")
        if not choices:
            return self._shows_usage or chunk.get("usage") is None
        if type(choices) is not list:
            raise malformed(self._provider, "choice")
        for choice in choices:
            self._take_choice(as_object(self._provider, choice, "choice"))
        return True

    def _take_choice(self, choice: dict[str, Any]) -> None:
        reason = as_text(self._provider, choice.get("finish_reason"), "finish_reason")
        delta = as_object(self._provider, choice.get("delta"), "delta")
        if reason:
            self.stop_reason = self.stop_reason or reason
        if reason or any(delta[key] for key in delta if key != "role"):
            self.has_content = self.has_progress = True

    def _take_usage(self, value: object) -> None:
        # A usage that cannot be read is none: the call is billed at what was held for it.
        try:
            self.usage = read_usage(self._provider, value)
        except MalformedReplyError:
            self.usage = None


def read_usage(provider: str, value: object) -> TokenUsage:
    """Return what an OpenAI usage object says.

    Raises:
        MalformedReplyError: it is none.
    """
    usage = as_object(provider, value, "usage")
    details = as_object(provider, usage.get("prompt_tokens_details"), "usage")
    return TokenUsage(
        input_tokens=as_count(provider, usage.get("prompt_tokens"), "usage"),
        output_tokens=as_count(provider, usage.get("completion_tokens"), "usage"),
        cached_tokens=as_count(provider, details.get("cached_tokens"), "usage"),
    )


def _fields(event: bytes) -> tuple[bytes, bytes]:
    """Return the type and the data of one event."""
    kind = b""
    data: list[bytes] = []
    for line in event.splitlines():
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            kind = value.strip()
    return kind, b"\n".join(data)
