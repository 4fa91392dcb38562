"""Many requests at once on one event loop, at the least cost per byte."""

import asyncio
import time
from typing import Self

from bench.wire import BrokenReplyError, Reply, ReplyReader


class AsyncConnection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._reply: Reply | None = None
        self._ended: asyncio.Future[Reply] | None = None

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect to a server on this machine."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", port)
        return connection

    @property
    def is_open(self) -> bool:
        """Whether the server has not closed the connection."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio)."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Note a piece and when it came (asyncio)."""
        now = time.monotonic_ns()
        if self._reply is None or self._ended is None:
            return
        piece = self._reader.feed(data)
        if piece:
            self._reply.pieces.append((now, piece))
        if self._reader.is_done:
            self._end(is_whole=True)

    def connection_lost(self, _: Exception | None) -> None:
        """End the answer where it is (asyncio)."""
        self._end(is_whole=False)

    async def send(self, request: bytes) -> Reply:
        """Send one request; return its answer, which is not whole if the connection broke.

        Raises:
            BrokenReplyError: the connection was closed before.
        """
        if not self.is_open:
            raise BrokenReplyError("the connection is closed")
        assert self._transport is not None
        self._reader = ReplyReader()
        self._ended = asyncio.get_running_loop().create_future()
        self._reply = Reply(time.monotonic_ns())
        self._transport.write(request)
        return await self._ended

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def _end(self, *, is_whole: bool) -> None:
        reply, ended = self._reply, self._ended
        self._reply = None
        if reply is None or ended is None or ended.done():
            return
        reply.status, reply.headers = self._reader.status, self._reader.headers
        reply.is_whole = is_whole
        ended.set_result(reply)
