"""A vendor's SDK, imported and connected at the first call: most processes can do without it."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx2


@dataclass(frozen=True, slots=True)
class Connected:
    """An SDK's client with what a call needs of it."""

    client: Any
    """Closed in the end."""
    send: "Callable[..., Awaitable[httpx2.Response]]"
    """Makes, authorises and sends the request with this `body`; the answer's body is unread."""
    errors: tuple[type[Exception], ...]
    """What the SDK and its transport raise."""


class LazySdk:
    """One client for all calls, so that they share its connections.

    Args:
        connect: imports the SDK and builds its client; takes a second, and runs off the event loop.
    """

    def __init__(self, connect: Callable[[], Connected]) -> None:
        self._connect = connect
        self._connecting = threading.Lock()
        self._connected: Connected | None = None

    async def ready(self) -> Connected:
        """Return the client; the first call waits for it."""
        if self._connected is not None:
            return self._connected
        return await asyncio.to_thread(self._connect_once)

    async def aclose(self) -> None:
        """Close idle connections; the next call opens new ones."""
        connected, self._connected = self._connected, None
        if connected is not None:
            await connected.client.close()

    def _connect_once(self) -> Connected:
        with self._connecting:
            connected = self._connected or self._connect()
            self._connected = connected
        return connected
