"""The log of this process as it happens, for whoever watches. Keeps nothing for later readers."""

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING
from weakref import WeakSet

if TYPE_CHECKING:
    # Costs pydantic; whoever reads the feed has it loaded, whoever only logs need not.
    from api.ports import LogLine

LINES_PER_READER = 1000
"""Lines that wait for a reader; one that falls behind misses the oldest."""


class LogReader:
    """One reader's place in the feed, from the moment it subscribed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, most: int) -> None:
        self._loop = loop
        self._lines: deque[LogLine] = deque(maxlen=most)
        self._ready = asyncio.Event()

    def put(self, line: "LogLine") -> None:
        """Hand a line over; safe from every thread."""
        self._lines.append(line)
        # The loop may be closed already: then nobody reads any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ready.set)

    def __aiter__(self) -> "LogReader":
        return self

    async def __anext__(self) -> "LogLine":
        while not self._lines:
            self._ready.clear()
            if not self._lines:
                await self._ready.wait()
        return self._lines.popleft()


class MemoryLogFeed:
    """The `LogFeed` of one process. A reader that is forgotten costs nothing more."""

    def __init__(self, most: int = LINES_PER_READER) -> None:
        self._most = most
        self._readers: WeakSet[LogReader] = WeakSet()
        self._lock = threading.Lock()

    @property
    def has_readers(self) -> bool:
        """Whether a line would be seen by anybody."""
        return len(self._readers) > 0

    def subscribe(self) -> LogReader:
        """Return every line from now on."""
        reader = LogReader(asyncio.get_running_loop(), self._most)
        with self._lock:
            self._readers.add(reader)
        return reader

    def publish(self, line: "LogLine") -> None:
        """Hand a line to every reader; safe from every thread."""
        with self._lock:
            readers = list(self._readers)
        for reader in readers:
            reader.put(line)
