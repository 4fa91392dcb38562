"""Viewers that do not give up: they come back with the last seq they saw until the end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.events import Seen, read_events
from bench.ours import STREAM
from bench.stream import AsyncConnection
from bench.wire import BrokenReplyError, Reply, request_bytes

TERMINAL = frozenset({"run_done", "run_failed", "run_cancelled"})
_PAUSE_SECONDS = 0.01

Where = Callable[[], int | None]
"""Returns the API's port, None while it is not known."""


@dataclass
class Viewer:
    """One viewer of one run. `connects` counts how often it had to come back."""

    where: Where
    run_id: str
    events: list[Seen] = field(default_factory=list)
    connects: int = 0

    async def watch(self) -> list[Seen]:
        """Return every event that was seen, once the run has ended."""
        while not self.events or self.events[-1].type not in TERMINAL:
            reply = await self._look()
            if reply is None:
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self.events += read_events(reply.pieces)
        return self.events

    async def _look(self) -> Reply | None:
        """Return what one connection gave; None when there was none to be had."""
        port = self.where()
        if port is None:
            return None
        last = self.events[-1].seq if self.events else 0
        request = request_bytes(
            "GET",
            f"/v1/runs/{self.run_id}/events",
            None,
            STREAM | ({"last-event-id": str(last)} if last else {}),
        )
        try:
            connection = await AsyncConnection.open(port)
            self.connects += 1
            reply = await connection.send(request)
        except (OSError, BrokenReplyError):
            return None
        connection.close()
        return reply if reply.status == 200 else None
