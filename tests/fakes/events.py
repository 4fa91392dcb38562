"""The event log of each run in memory."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

from domain.event import EventDraft, EventType, Lineage, StoredEvent, envelope, sse_frames
from domain.run import Run
from tests.fakes.clock import FakeClock


class FakeEvents:
    """The event log in memory."""

    def __init__(self, clock: FakeClock) -> None:
        self.logs: dict[str, list[StoredEvent]] = defaultdict(list)
        self.followers = 0
        self._clock = clock
        self._grown: dict[str, asyncio.Event] = {}

    def append(self, run: Run, type_: EventType, data: dict[str, Any]) -> StoredEvent:
        log = self.logs[run.run_id]
        seq = len(log) + 1
        draft = EventDraft(type=type_, key=str(seq), data=data)
        line = Lineage(
            root_run_id=run.root_run_id, parent_run_id=run.parent_run_id, depth=run.depth
        )
        text = envelope(run.run_id, seq, self._clock.now_ms(), draft, line)
        event = StoredEvent(run_id=run.run_id, seq=seq, type=type_.value, envelope=text)
        log.append(event)
        grown = self._grown.pop(run.run_id, None)
        if grown is not None:
            grown.set()
        return event

    async def read(
        self, run_id: str, after_seq: int, limit: int, types: Sequence[str] | None = None
    ) -> Sequence[StoredEvent]:
        found = self.logs[run_id][after_seq:]
        if types is not None:
            found = [event for event in found if event.type in types]
        return found[:limit]

    async def replay(
        self, run_id: str, after_seq: int, until_seq: int, types: Sequence[str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        found = await self.read(run_id, after_seq, until_seq, types)
        shown = [event for event in found if event.seq <= until_seq]
        if shown:
            yield sse_frames(shown)

    async def follow(self, run_id: str, after_seq: int) -> AsyncIterator[Sequence[StoredEvent]]:
        self.followers += 1
        try:
            cursor = after_seq
            while True:
                grown = self._grown.setdefault(run_id, asyncio.Event())
                batch = await self.read(run_id, cursor, 500)
                if batch:
                    yield batch
                    cursor = batch[-1].seq
                    if batch[-1].is_terminal:
                        return
                else:
                    await grown.wait()
        finally:
            self.followers -= 1
