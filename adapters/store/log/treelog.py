"""Reading a tree's logs as one: a snapshot of all its runs at a time, then waiting for more."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from adapters.store.children.family import subtree_heads
from adapters.store.database.tx import Engine, Row, Tx
from adapters.store.log.eventlog import PAGE_CHARS
from adapters.store.log.hub import Hub, Subscription
from adapters.store.log.pages import read_page
from domain.event import StoredEvent
from domain.run import TERMINAL
from domain.treelog import Seen, Shelf, TreePage, advance, merge, place_of

READ_EVENTS = 2000
"""Most events looked at in one go, over all runs of a tree."""
LOOK_SECONDS = 0.5
"""Between two looks for runs that came without an event above them: those asked for by API."""


class SqlTreeLog:
    """The `TreeLog` over a database and the hub of this process."""

    def __init__(self, engine: Engine, hub: Hub) -> None:
        self._engine = engine
        self._hub = hub

    async def read_tree(self, run_id: str, seen: Seen) -> TreePage:
        page, _ = await self._engine.read(lambda tx: _read(tx, run_id, seen))
        return page

    async def follow_tree(self, run_id: str, seen: Seen) -> AsyncIterator[Sequence[StoredEvent]]:
        so_far = dict(seen)
        with _Watch(self._hub) as watch:
            watch.add([run_id])
            while True:
                watch.clear()
                page, runs = await self._engine.read(lambda tx: _read(tx, run_id, so_far))
                watch.add(runs)
                if page.events:
                    yield page.events
                    for event in page.events:
                        advance(so_far, event)
                elif page.is_over:
                    return
                else:
                    await watch.wait(LOOK_SECONDS)


class _Watch:
    """A viewer of many runs at once, who only wants to know that there is news."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._viewer = Subscription()
        self._runs: set[str] = set()

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *_: object) -> None:
        for run_id in self._runs:
            self._hub.unsubscribe(run_id, self._viewer)

    def add(self, runs: Sequence[str]) -> None:
        for run_id in runs:
            if run_id not in self._runs:
                self._runs.add(run_id)
                self._hub.subscribe(run_id, self._viewer)
                # What was committed before is not announced any more.
                self._viewer.touch()

    def clear(self) -> None:
        self._viewer.take(0)

    async def wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._viewer.wait()


def _read(tx: Tx, run_id: str, seen: Mapping[str, int]) -> tuple[TreePage, list[str]]:
    """Return the next events of a tree and its runs, all from one snapshot."""
    rows = subtree_heads(tx, run_id)
    behind = [row for row in rows if row["last_seq"] > seen.get(place_of(row["run_id"]), 0)]
    limit = max(20, READ_EVENTS // max(1, len(behind)))
    shelves = [_shelf(tx, row, seen, limit) for row in behind]
    is_over = not behind and all(row["state"] in TERMINAL for row in rows)
    return TreePage(merge(shelves), is_over), [row["run_id"] for row in rows]


def _shelf(tx: Tx, row: Row, seen: Mapping[str, int], limit: int) -> Shelf:
    after = seen.get(place_of(row["run_id"]), 0)
    events = _fitting(read_page(tx, row["run_id"], after, limit))
    return Shelf(
        run_id=row["run_id"],
        parent_run_id=row["parent_run_id"],
        depth=row["depth"],
        events=events,
        is_cut=events[-1].seq < row["last_seq"],
    )


def _fitting(events: list[StoredEvent]) -> list[StoredEvent]:
    """Return as many events as one run may hold in memory: at least one."""
    size = 0
    for count, event in enumerate(events):
        size += len(event.envelope)
        if size > PAGE_CHARS and count:
            return events[:count]
    return events
