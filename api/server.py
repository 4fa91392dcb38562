"""The HTTP server's protocol: uvicorn's on httptools, with the limits and the way out it lacks.

Headers that are too large, too many or too slow, and what is no HTTP, are answered in the API's own
shape and end the connection. A stream can drop a reader that takes nothing (`api.sse.ABORT`):
closing would wait until the reader has taken the rest.
Give the class to `uvicorn.Config(http=...)`.
"""

import asyncio
import socket
import sys
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.errors import Problem
from api.malformed import last_words, problem_of_parser
from api.sse import ABORT

MOST_HEADER_BYTES = 32 * 1024
MOST_HEADERS = 100
HEADER_SECONDS = 10.0
"""From the connection, or the first byte of a further request, until its headers are whole."""
_TOO_LARGE = Problem(
    431,
    "headers_too_large",
    f"the target and the headers of a request have at most {MOST_HEADER_BYTES // 1024} KiB,"
    f" in at most {MOST_HEADERS} headers",
    ({"field": "headers", "message": "send fewer or shorter ones"},),
)


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

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's own
        """Answer what the parser refused; uvicorn's words do not say why."""
        self._refuse(problem_of_parser(sys.exception()))

    def _refuse(self, problem: Problem) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        cycle = getattr(self, "cycle", None)
        if cycle is None or cycle.response_complete or not cycle.response_started:
            self.transport.write(last_words(problem, getattr(self, "url", b"")))
        self.transport.close()

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.header_seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._header_timer = None
        said = f"the headers were not whole within {self.header_seconds:g} s"
        where = ({"field": "headers", "message": "send them at once"},)
        self._refuse(Problem(408, "request_timeout", said, where))

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
