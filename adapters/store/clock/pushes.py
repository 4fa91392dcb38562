"""Cursors of the event push: one row per run that is being pushed, or was a moment ago.

Runs are found by when they were accepted, from a mark that is kept in `meta`. Clocks of several
processes differ and transactions take time, so a look goes back further than the mark.
"""

from collections.abc import Sequence

from adapters.store.database.tx import Engine, Row, Tx
from domain.event import StoredEvent
from domain.ports import Clock
from domain.push import Behind, PushLag

START, MARK = "push_start", "push_mark"
LOOK_BACK_MS = 600_000
MOVE_MARK_MS = 60_000

_NEW = (
    " FROM runs r LEFT JOIN runs t ON t.run_id = r.root_run_id WHERE r.created_at >= :since"
    " AND NOT EXISTS (SELECT 1 FROM pushes p WHERE p.run_id = r.run_id)"
)
_DISCOVER = (
    "INSERT INTO pushes (run_id, session_id, created_at, pushed_seq, done, failures, next_at)"
    " SELECT r.run_id, coalesce(r.session_id, t.session_id), r.created_at, 0,"
    " coalesce(r.session_id, t.session_id) IS NULL, 0, 0"
    f"{_NEW} ON CONFLICT (run_id) DO NOTHING"
)
_BEHIND = " FROM pushes p JOIN runs r ON r.run_id = p.run_id WHERE p.done = false"


def _marks(tx: Tx) -> dict[str, int]:
    rows = tx.all(
        "SELECT key, value FROM meta WHERE key IN (:start, :mark)", start=START, mark=MARK
    )
    return {row["key"]: int(row["value"]) for row in rows}


def since(tx: Tx) -> int | None:
    """Return from when on runs are looked for; None before the first look ever."""
    marks = _marks(tx)
    if len(marks) < 2:
        return None
    return max(marks[START], marks[MARK] - LOOK_BACK_MS)


def begin(tx: Tx, now: int) -> None:
    """Note that pushing begins now: runs accepted before are not pushed."""
    for key in (START, MARK):
        tx.run(
            "INSERT INTO meta (key, value) VALUES (:key, :now) ON CONFLICT (key) DO NOTHING",
            key=key,
            now=str(now),
        )


def has_new(tx: Tx, now: int) -> bool:
    """Whether `discover` has anything to do."""
    marks, start = _marks(tx), since(tx)
    if start is None or now - marks[MARK] > MOVE_MARK_MS:
        return True
    return tx.one(f"SELECT 1 AS one{_NEW} LIMIT 1", since=start) is not None


def discover(tx: Tx, now: int) -> None:
    """Make rows for runs that have none, and drop those of runs that are not found any more."""
    begin(tx, now)
    start = since(tx) or now
    tx.run(_DISCOVER, since=start)
    if now - _marks(tx)[MARK] > MOVE_MARK_MS:
        tx.run("UPDATE meta SET value = :now WHERE key = :key", key=MARK, now=str(now))
        old = start - LOOK_BACK_MS
        tx.run("DELETE FROM pushes WHERE done = true AND created_at < :old", old=old)


def due(tx: Tx, limit: int, now: int) -> list[Behind]:
    """Return runs with something to push now."""
    rows = tx.all(
        f"SELECT p.*{_BEHIND} AND r.last_seq > p.pushed_seq AND p.next_at <= :now"
        " ORDER BY p.next_at, p.created_at LIMIT :limit",
        now=now,
        limit=limit,
    )
    return [_behind(row) for row in rows]


def _behind(row: Row) -> Behind:
    return Behind(row["run_id"], row["session_id"], row["pushed_seq"], row["failures"])


def advance(tx: Tx, run_id: str, seq: int, is_last: bool) -> bool:
    """Move a cursor by one; False when it does not stand just before."""
    return bool(
        tx.run(
            "UPDATE pushes SET pushed_seq = :seq, failures = 0, next_at = 0, error = NULL,"
            " done = :done WHERE run_id = :run AND pushed_seq = :before",
            run=run_id,
            seq=seq,
            before=seq - 1,
            done=is_last,
        )
    )


def fail(tx: Tx, run: Behind, next_at: int, error: str) -> None:
    """Note that the next event of a run was not taken."""
    tx.run(
        "UPDATE pushes SET failures = failures + 1, next_at = :next_at, error = :error"
        " WHERE run_id = :run AND pushed_seq = :seq",
        run=run.run_id,
        seq=run.pushed_seq,
        next_at=next_at,
        error=error,
    )


def lag(tx: Tx, now: int) -> PushLag:
    """Return how far the receiver is behind."""
    found = tx.one(
        "SELECT count(*) AS runs, coalesce(sum(r.last_seq - p.pushed_seq), 0) AS events,"
        " coalesce(sum(CASE WHEN p.failures > 0 THEN 1 ELSE 0 END), 0) AS failing,"
        " min(e.ts) AS oldest"
        " FROM pushes p JOIN runs r ON r.run_id = p.run_id LEFT JOIN events e"
        " ON e.run_id = p.run_id AND e.seq = p.pushed_seq + 1"
        " WHERE p.done = false AND r.last_seq > p.pushed_seq"
    )
    worst = tx.one(
        "SELECT error FROM pushes WHERE done = false AND failures > 0"
        " ORDER BY failures DESC, run_id LIMIT 1"
    )
    assert found is not None
    return PushLag(
        events=int(found["events"]),
        runs=int(found["runs"]),
        failing=int(found["failing"]),
        oldest_ms=max(0, now - found["oldest"]) if found["oldest"] is not None else 0,
        error=worst["error"] if worst else None,
    )


class SqlPushBook:
    """The `PushBook` over a database."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def discover(self) -> None:
        """Take note of new runs; writes only if there are any."""
        now = self._clock.now_ms()
        if await self._engine.read(lambda tx: has_new(tx, now)):
            await self._engine.write(lambda tx: discover(tx, now))

    async def due(self, limit: int) -> Sequence[Behind]:
        """Return runs with something to push now."""
        now = self._clock.now_ms()
        return await self._engine.read(lambda tx: due(tx, limit, now))

    async def advance(self, run_id: str, event: StoredEvent) -> bool:
        """Note that the receiver has an event."""
        return await self._engine.write(
            lambda tx: advance(tx, run_id, event.seq, event.is_terminal)
        )

    async def fail(self, run: Behind, pause_ms: int, error: str) -> None:
        """Note that an event was not taken."""
        next_at = self._clock.now_ms() + pause_ms
        await self._engine.write(lambda tx: fail(tx, run, next_at, error[:500]))

    async def lag(self) -> PushLag:
        """Return how far the receiver is behind."""
        now = self._clock.now_ms()
        return await self._engine.read(lambda tx: lag(tx, now))
