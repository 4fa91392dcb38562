"""The HTTP server's protocol: uvicorn's on httptools, with the limits and the way out it lacks.

Headers that are too large, too many or too slow end the connection, and a stream can drop a reader
that takes nothing (`api.sse.ABORT`): closing would wait until the reader has taken the rest.
Give the class to `uvicorn.Config(http=...)`.
"""

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.sse import ABORT

MOST_HEADER_BYTES = 32 * 1024
MOST_HEADERS = 100
HEADER_SECONDS = 10.0
"""From the connection, or the first byte of a further request, until its headers are whole."""
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n"
_END = b"content-length: 0\r\nconnection: close\r\n\r\n"


class ApiProtocol(HttpToolsProtocol):
    """One connection."""

    header_seconds = HEADER_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 -- uvicorn's own
        super().__init__(*args, **kwargs)
        self._header_bytes = 0
        self._unparsed_bytes = 0
        self._header_timer: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        _set_nodelay(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which keeps an unfinished header to itself."""
        if self._refused:
            return
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._header_timer is None:
            self._unparsed_bytes = 0
        elif self._unparsed_bytes > MOST_HEADER_BYTES:
            self._refuse(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._header_bytes = 0
        if self._header_timer is None:
            self._await_headers()
        self.scope["extensions"] = {ABORT: self.transport.abort}  # type: ignore[dict-item]

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        if self._count(len(url)):
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        if self._count(len(name) + len(value)):
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the app."""
        self._stop_waiting()
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        if not self._refused:
            super().on_message_complete()

    def _count(self, size: int) -> bool:
        self._header_bytes += size
        if self._header_bytes <= MOST_HEADER_BYTES and len(self.headers) < MOST_HEADERS:
            return True
        self._refuse(_TOO_LARGE)
        return False

    def _refuse(self, status: bytes) -> None:
        if not self._refused and not self.transport.is_closing():
            self._refused = True
            self.transport.write(status + _END)
            self.transport.close()

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.header_seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._header_timer = None
        self._refuse(_TOO_SLOW)

    def _stop_waiting(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


def _set_nodelay(transport: asyncio.Transport) -> None:
    """Send small writes at once.

    asyncio does so only for sockets that name TCP as their protocol; on others an answer's body
    would wait 40 ms for the acknowledgement of its head.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
