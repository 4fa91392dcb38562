"""One HTTP/1.1 connection to a server, with the least work for each piece of an answer.

The parser is httptools', in C; pieces that arrive together are handed out together. Knows no pool
and no meaning of what it carries. Source: RFC 9112.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import cast

import httptools

_HIGH_BYTES = 256 * 1024
"""What is kept for a reader that does not keep up; then the sender has to wait."""
_MOST_HEADER_BYTES = 64 * 1024


class WireError(Exception):
    """The connection broke, or what came over it is not HTTP."""


@dataclass(slots=True)
class Head:
    """Status and headers of an answer; names are in lower case, the first value counts."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._header_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._broken: str | None = None
        self._is_paused = False
        self._head = Head()
        self._has_head = False
        self._has_end = False
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether another request may be sent."""
        return self._broken is None and self._transport is not None

    @property
    def is_spent(self) -> bool:
        """Whether the answer is read to its end, so that the connection can serve again."""
        return self._has_end and not self._pieces and self.is_open

    async def send(self, request: bytes) -> Head:
        """Send a request; return status and headers of its answer, the body yet unread.

        Raises:
            WireError: the connection broke, or that was no HTTP.
        """
        if self._transport is None or self._broken is not None:
            raise WireError(self._broken or "it is not open")
        self._parser = httptools.HttpResponseParser(self)
        self._head = Head()
        self._has_head = self._has_end = False
        self._header_bytes = 0
        self._transport.write(request)
        while not self._has_head:
            self._check()
            await self._wait()
        return self._head

    async def read(self) -> bytes:
        """Return what has come of the body since the last call, b"" at its end.

        Raises:
            WireError: the connection broke before the end.
        """
        while not self._pieces:
            if self._has_end:
                return b""
            self._check()
            await self._wait()
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if self._is_paused and self._transport is not None:
            self._is_paused = False
            self._transport.resume_reading()
        return data

    def close(self) -> None:
        """Close at once; what is on its way is dropped."""
        self._broken = self._broken or "it was closed"
        if self._transport is not None:
            self._transport.abort()

    def _check(self) -> None:
        if self._broken is not None:
            raise WireError(self._broken)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio)."""
        # uvloop's are none by their class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket (asyncio)."""
        if self._parser is None or self._has_end:
            self._break("the server sent what nobody asked for")
            return
        if not self._has_head:
            self._header_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break("the server wants another protocol")
        except httptools.HttpParserError:
            self._break("the answer is not HTTP")
        if not self._has_head and self._header_bytes > _MOST_HEADER_BYTES:
            self._break("the answer's headers do not end")
        if self._size > _HIGH_BYTES and not self._is_paused and self._transport is not None:
            self._is_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Note that the server is done (asyncio)."""
        if self._has_head and not self._has_end and not self._is_framed():
            self._has_end = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone (asyncio)."""
        self._broken = self._broken or (type(exc).__name__ if exc else "the server closed it")
        self._transport = None
        self._wake()

    def _break(self, why: str) -> None:
        self._broken = self._broken or why
        if self._transport is not None:
            self._transport.abort()

    def _is_framed(self) -> bool:
        """Whether the answer says where its body ends; else the connection's end is it."""
        return "content-length" in self._head.headers or "chunked" in self._head.headers.get(
            "transfer-encoding", ""
        )

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header (httptools)."""
        key = name.decode("latin-1").lower()
        self._head.headers.setdefault(key, value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """Note the status (httptools)."""
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            self._head.headers.clear()
        else:
            self._head.status, self._has_head = status, True

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body (httptools)."""
        self._pieces.append(body)
        self._size += len(body)

    def on_message_complete(self) -> None:
        """Note the end (httptools)."""
        assert self._parser is not None
        if not self._has_head:
            return
        self._has_end = True
        if not self._parser.should_keep_alive():
            self._broken = self._broken or "the server keeps it no longer"
