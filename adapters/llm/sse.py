"""An incremental reader of server-sent events. Knows bytes and lines, not what the events mean.

A stream looks like this, cut into chunks at any byte:

```text
event: delta
data: {"text": "hi"}
```

Limits: a line and an event may not grow past the sizes given; what follows is refused with
`SseLimitError`. Specification: WHATWG HTML 9.2 (https://html.spec.whatwg.org/#event-stream-interpretation).
"""

from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"
_LINE_ENDS = (b"\n", b"\r")

DEFAULT_MAX_LINE_BYTES = 4 * 1024 * 1024
"""Longest line, in bytes, without its end."""
DEFAULT_MAX_EVENT_BYTES = 8 * 1024 * 1024
"""Most data of one event, in bytes, over all its lines."""


class SseLimitError(ValueError):
    """A line or an event is larger than the reader accepts."""


class SseEvent(NamedTuple):
    """One dispatched event. `event` is `message` when the stream named none."""

    event: str
    data: str
    last_event_id: str


class SseParser:
    """Turns chunks of bytes into events; an unfinished block is never handed out."""

    def __init__(
        self,
        *,
        max_line_bytes: int = DEFAULT_MAX_LINE_BYTES,
        max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES,
    ) -> None:
        self._max_line = max_line_bytes
        self._max_event = max_event_bytes
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._skip_lf = False
        self._at_start = True
        self._event = ""
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._last_id = ""

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Return the events that `chunk` completes, in order.

        Raises:
            SseLimitError: a line or an event is too large; the reader is of no further use.
        """
        if not chunk:
            return []
        if self._skip_lf:
            chunk = chunk.removeprefix(b"\n")
        events: list[SseEvent] = []
        for line in chunk.splitlines(keepends=True):
            if line.endswith(_LINE_ENDS):
                event = self._take_line(line.rstrip(b"\r\n"))
                if event is not None:
                    events.append(event)
            else:
                self._hold(line)
        # A CR at the end of a chunk ends its line now; an LF that follows belongs to it.
        self._skip_lf = chunk.endswith(b"\r")
        return events

    def _hold(self, piece: bytes) -> None:
        self._pending.append(piece)
        self._pending_bytes += len(piece)
        self._check_line(self._pending_bytes)

    def _check_line(self, size: int) -> None:
        if size > self._max_line:
            raise SseLimitError(f"a line is longer than {self._max_line} bytes")

    def _take_line(self, line: bytes) -> SseEvent | None:
        if self._pending:
            self._pending.append(line)
            line = b"".join(self._pending)
            self._pending.clear()
            self._pending_bytes = 0
        self._check_line(len(line))
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch() if self._data or self._event else None
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._add_data(value)
        elif name:
            self._set_field(name, value)
        return None

    def _add_data(self, value: bytes) -> None:
        self._data.append(value)
        self._data_bytes += len(value) + 1
        if self._data_bytes > self._max_event + 1:
            raise SseLimitError(f"an event is larger than {self._max_event} bytes")

    def _set_field(self, name: bytes, value: bytes) -> None:
        if name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._last_id = value.decode("utf-8", "replace")

    def _dispatch(self) -> SseEvent | None:
        data, event = self._data, self._event
        self._event = ""
        if not data:
            return None
        self._data = []
        self._data_bytes = 0
        raw = data[0] if len(data) == 1 else b"\n".join(data)
        return SseEvent(event or "message", raw.decode("utf-8", "replace"), self._last_id)
