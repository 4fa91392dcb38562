"""In-process fan-out of committed events: live viewers read memory, not the database."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable

from domain.event import StoredEvent

BUFFER_EVENTS = 1000
"""What one slow viewer may hold in memory; past it, the viewer reads the log instead."""


class Subscription:
    """One viewer of one run."""

    def __init__(self) -> None:
        self._buffer: deque[StoredEvent] = deque()
        self._must_read = False
        self._ready = asyncio.Event()

    def offer(self, event: StoredEvent) -> None:
        """Hand over a committed event; a full buffer is dropped in favour of the log."""
        if len(self._buffer) >= BUFFER_EVENTS:
            self._buffer.clear()
            self._must_read = True
        if not self._must_read:
            self._buffer.append(event)
        self._ready.set()

    def touch(self) -> None:
        """Say that the log has something which did not pass through this process."""
        self._must_read = True
        self._ready.set()

    async def wait(self) -> None:
        """Wait until there may be something new."""
        await self._ready.wait()

    def take(self, after_seq: int) -> list[StoredEvent] | None:
        """Return what follows `after_seq`, or None when the log has to be read."""
        self._ready.clear()
        events = [event for event in self._buffer if event.seq > after_seq]
        self._buffer.clear()
        # Two writers may commit in one order and be told in the other: the log then has both.
        has_gap = any(event.seq != place for place, event in enumerate(events, after_seq + 1))
        if self._must_read or has_gap:
            self._must_read = False
            return None
        return events


class Hub:
    """Who watches which run in this process."""

    def __init__(self) -> None:
        self._viewers: dict[str, set[Subscription]] = defaultdict(set)
        self._last_seq: dict[str, int] = {}

    def publish(self, events: Iterable[StoredEvent]) -> None:
        """Hand committed events to the viewers of their runs."""
        for event in events:
            viewers = self._viewers.get(event.run_id)
            if viewers:
                known = self._last_seq.get(event.run_id, 0)
                self._last_seq[event.run_id] = max(known, event.seq)
                for viewer in viewers:
                    viewer.offer(event)

    def notice(self, run_id: str, last_seq: int | None = None) -> None:
        """Note that a run's log may have grown elsewhere, up to `last_seq` when that is known."""
        if last_seq is not None and last_seq <= self._last_seq.get(run_id, 0):
            return
        if last_seq is not None:
            self._last_seq[run_id] = last_seq
        for viewer in self._viewers.get(run_id, ()):
            viewer.touch()

    def watched(self) -> list[str]:
        """Return the runs that somebody watches."""
        return list(self._viewers)

    def subscribe(self, run_id: str, viewer: Subscription | None = None) -> Subscription:
        """Begin to watch a run; one viewer may watch several."""
        viewer = viewer or Subscription()
        self._viewers[run_id].add(viewer)
        return viewer

    def unsubscribe(self, run_id: str, viewer: Subscription) -> None:
        """Stop watching a run."""
        viewers = self._viewers[run_id]
        viewers.discard(viewer)
        if not viewers:
            del self._viewers[run_id]
            self._last_seq.pop(run_id, None)
