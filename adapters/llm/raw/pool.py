"""Connections to one server, kept for the next request. Knows no request's meaning."""

import asyncio

from adapters.llm.raw.connection import Connection
from adapters.llm.raw.dialing import Dialer

_MOST_IDLE = 64
_IDLE_SECONDS = 30.0
"""Dropped before most servers drop them."""


class Pool:
    """Hands out connections, the one that was used last first."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._idle: list[Connection] = []

    async def take(self) -> Connection:
        """Return a connection for one request.

        Raises:
            OSError, TimeoutError, WireError: the server cannot be reached.
        """
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and now - connection.idle_since < _IDLE_SECONDS:
                return connection
            connection.close()
        return await self._dialer.dial()

    def give(self, connection: Connection) -> None:
        """Take a connection back: kept if its answer was read to the end, else closed at once."""
        if not connection.is_spent or len(self._idle) >= _MOST_IDLE:
            connection.close()
            return
        now = connection.idle_since = asyncio.get_running_loop().time()
        # The oldest are at the front; those that nobody will take any more are closed in passing.
        while self._idle and now - self._idle[0].idle_since >= _IDLE_SECONDS:
            self._idle.pop(0).close()
        self._idle.append(connection)

    async def warm(self) -> None:
        """Do what the first request would wait for."""
        await self._dialer.warm()

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()
