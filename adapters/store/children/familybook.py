"""The `FamilyBook` over a database: each method is one transaction."""

from adapters.store.children import spawning
from adapters.store.database.commits import Commits, CrashPoint, no_crash
from adapters.store.database.rows import run_from
from adapters.store.database.tx import Engine, Row
from domain.acceptance import NewRun
from domain.family import Spawned, Unstarted
from domain.ports import Clock
from domain.run import RunSpec
from domain.step import Attempt


class SqlFamilyBook:
    """Children on record. Source of every promise: `domain.family.FamilyBook`."""

    def __init__(self, engine: Engine, clock: Clock, crash: CrashPoint = no_crash) -> None:
        self._engine = engine
        self._clock = clock
        self._commit = Commits(engine, crash)

    async def spawn(self, who: Attempt, new: NewRun, *, waits: bool) -> Spawned:
        """Make a step's child, or find it."""
        now = self._clock.now_ms()
        return await self._commit(
            "spawn", lambda tx: spawning.spawn(tx, who, new, now, waits_for_it=waits)
        )

    async def unstarted(self, run_id: str) -> Unstarted | None:
        """Return a run if no workflow has begun it."""
        sql = "SELECT * FROM runs WHERE run_id = :id AND state = 'CREATED'"
        row = await self._engine.read(lambda tx: tx.one(sql, id=run_id))
        return None if row is None else unstarted_from(row)


def unstarted_from(row: Row) -> Unstarted:
    """Return a row of `runs` with the snapshot that it was accepted with."""
    spec = RunSpec.model_validate_json(row["spec"])
    return Unstarted(run_from(row), spec, queued=row["queue_seq"] is not None)
