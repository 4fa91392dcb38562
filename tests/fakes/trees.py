"""The logs of a run and its children as one, in memory."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from domain.event import StoredEvent
from domain.run import Run
from domain.treelog import Seen, Shelf, TreePage, advance, merge, place_of
from tests.fakes.events import FakeEvents
from tests.fakes.runs import FakeRuns


class FakeTrees:
    """The logs of a run and its children, in memory."""

    def __init__(self, events: FakeEvents, runs: FakeRuns) -> None:
        self._events = events
        self._runs = runs

    def _below(self, run_id: str) -> list[Run]:
        found = [self._runs.runs[run_id]]
        for run in found:
            found += [r for r in self._runs.runs.values() if r.parent_run_id == run.run_id]
        return found

    async def read_tree(self, run_id: str, seen: Seen) -> TreePage:
        runs = self._below(run_id)
        shelves = [
            Shelf(run.run_id, run.parent_run_id, run.depth, log)
            for run in runs
            if (log := self._events.logs[run.run_id][seen.get(place_of(run.run_id), 0) :])
        ]
        return TreePage(merge(shelves), not shelves and all(run.is_terminal for run in runs))

    async def follow_tree(self, run_id: str, seen: Seen) -> AsyncIterator[Sequence[StoredEvent]]:
        so_far = dict(seen)
        while not (page := await self.read_tree(run_id, so_far)).is_over:
            if page.events:
                yield page.events
            for event in page.events:
                advance(so_far, event)
            await asyncio.sleep(0.001)
