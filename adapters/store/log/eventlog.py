"""Reading the log: pages for replays, and a tail that follows commits as they happen."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from functools import partial

from adapters.store.database.tx import Engine, Tx
from adapters.store.log.hub import Hub, Subscription
from adapters.store.log.pages import FrameReader, read_page
from adapters.store.log.replay import replay
from domain.errors import StoreUnavailableError
from domain.event import StoredEvent

PAGE = 500
"""Most events read at a time, so that a replay needs constant memory."""
FIRST_PAGE = 100
PAGE_CHARS = 1 << 18
"""Text that a tail holds on to while its reader takes it; what is more is read again later."""

_log = logging.getLogger(__name__)


class SqlEventLog:
    """The `EventLog` over a database and the hub of this process."""

    def __init__(self, engine: Engine, hub: Hub) -> None:
        self._engine = engine
        self._hub = hub

    async def read(
        self, run_id: str, after_seq: int, limit: int, types: Sequence[str] | None = None
    ) -> Sequence[StoredEvent]:
        return await self._engine.read(lambda tx: read_page(tx, run_id, after_seq, limit, types))

    def replay(
        self, run_id: str, after_seq: int, until_seq: int, types: Sequence[str] | None = None
    ) -> AsyncGenerator[bytes, None]:
        return replay(self._engine, FrameReader(run_id, until_seq, types), after_seq)

    async def follow(self, run_id: str, after_seq: int) -> AsyncIterator[Sequence[StoredEvent]]:
        viewer = self._hub.subscribe(run_id)
        try:
            cursor = after_seq
            batch: Sequence[StoredEvent] | None = None
            while True:
                if batch is None:
                    async for page in self._catch_up(run_id, cursor):
                        yield page
                        cursor = page[-1].seq
                        if page[-1].is_terminal:
                            return
                elif batch:
                    yield batch
                    cursor = batch[-1].seq
                    if batch[-1].is_terminal:
                        return
                batch = await _next(viewer, cursor)
        finally:
            self._hub.unsubscribe(run_id, viewer)

    async def _catch_up(self, run_id: str, cursor: int) -> AsyncIterator[Sequence[StoredEvent]]:
        # A run that begins has no past: most viewers are there first.
        known = await self._engine.look_up(partial(_last_seqs, run_ids=(run_id,)))
        if known.get(run_id, 0) <= cursor:
            return
        limit = FIRST_PAGE
        while page := await self.read(run_id, cursor, limit):
            is_last = len(page) < limit
            kept = _fitting(page)
            is_last = is_last and kept == len(page)
            page = page[:kept]
            yield page
            cursor = page[-1].seq
            if is_last:
                return
            limit = min(PAGE, 4 * kept)


def _fitting(page: Sequence[StoredEvent]) -> int:
    """Return how many events of a page one tail may hold: at least one."""
    size = 0
    for count, event in enumerate(page, start=1):
        size += len(event.envelope)
        if size > PAGE_CHARS:
            return max(1, count - 1)
    return len(page)


async def _next(viewer: Subscription, cursor: int) -> Sequence[StoredEvent] | None:
    await viewer.wait()
    return viewer.take(cursor)


async def watch_other_processes(engine: Engine, hub: Hub, poll_seconds: float) -> None:
    """Notice what other processes commit to the same SQLite file, until cancelled.

    Costs one keyed query per poll, and nothing while nobody watches.
    """
    while True:
        await asyncio.sleep(poll_seconds)
        watched = hub.watched()
        if not watched:
            continue
        try:
            grown = await engine.read(partial(_last_seqs, run_ids=watched))
        except StoreUnavailableError as error:
            _log.warning("viewers may lag: %s", error)
            continue
        for run_id, last_seq in grown.items():
            hub.notice(run_id, last_seq)


def _last_seqs(tx: Tx, run_ids: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(run_ids), PAGE):
        names = {f"r{i}": run for i, run in enumerate(run_ids[start : start + PAGE])}
        marks = ", ".join(f":{name}" for name in names)
        rows = tx.all(f"SELECT run_id, last_seq FROM runs WHERE run_id IN ({marks})", **names)
        found |= {row["run_id"]: row["last_seq"] for row in rows}
    return found
