"""Leases, and the rows that nobody seems to work on."""

from collections.abc import Sequence

from adapters.store.approvals.news import ANY_OF_R
from adapters.store.database.rows import run_from
from adapters.store.database.tx import Engine, Row, Tx
from domain.errors import NotFoundError
from domain.run import RunSpec
from domain.upkeep import HeldStep, Lease, OpenRun

_OPEN_RUNS = (
    f"SELECT r.*, (s.active_run_id = r.run_id) AS holds, {ANY_OF_R} AS resolved"
    " FROM runs r LEFT JOIN sessions s ON s.owner = r.owner AND s.session_id = r.session_id"
    " WHERE r.state IN ('CREATED', 'RUNNING') AND r.created_at < :before"
    " ORDER BY r.created_at LIMIT :limit"
)

_UNREPORTED = (
    "SELECT s.run_id, s.step_id, s.task_token FROM steps s JOIN runs r ON r.run_id = s.run_id"
    " WHERE s.worker_id = :worker AND s.state = 'open' AND r.state IN ('CREATED', 'RUNNING')"
    " UNION SELECT s.run_id, s.step_id, s.task_token FROM runs r JOIN steps s"
    " ON s.run_id = r.run_id WHERE r.state IN ('CREATED', 'RUNNING') AND s.worker_id = :worker"
    " AND (s.closed_at >= :since OR s.state IN ('idle', 'unknown'))"
)


def take_lease(tx: Tx, lease: Lease, now: int) -> bool:
    """Take, renew or inherit a lease; an expired one is anybody's."""
    return bool(
        tx.run(
            "INSERT INTO leases (name, holder, process, until) VALUES (:name, :holder, :process,"
            " :until) ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, process ="
            " excluded.process, until = excluded.until WHERE leases.holder = excluded.holder OR"
            " leases.until < :now",
            name=lease.name,
            holder=lease.holder,
            process=lease.process,
            until=lease.until_ms,
            now=now,
        )
    )


def _open_run(row: Row) -> OpenRun:
    return OpenRun(
        run=run_from(row),
        queued=row["queue_seq"] is not None,
        holds_session=bool(row["holds"]),
        was_woken=row["woken_at"] is not None,
        resolved_unseen=bool(row["resolved"]),
    )


class SqlUpkeep:
    """The `UpkeepBook` over a database. Times of leases come from the caller's clock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def take_lease(self, lease: Lease, now_ms: int) -> bool:
        return await self._engine.write(lambda tx: take_lease(tx, lease, now_ms))

    async def drop_lease(self, name: str, holder: str) -> bool:
        sql = "DELETE FROM leases WHERE name = :name AND holder = :holder"
        return bool(await self._engine.write(lambda tx: tx.run(sql, name=name, holder=holder)))

    async def list_leases(self, prefix: str) -> Sequence[Lease]:
        rows = await self._engine.read(
            lambda tx: tx.all("SELECT * FROM leases WHERE name LIKE :prefix", prefix=prefix + "%")
        )
        return [Lease(r["name"], r["holder"], r["process"], r["until"]) for r in rows]

    async def unreported_steps(self, worker_id: str, since_ms: int) -> Sequence[HeldStep]:
        rows = await self._engine.read(
            lambda tx: tx.all(_UNREPORTED, worker=worker_id, since=since_ms)
        )
        return [HeldStep(r["run_id"], r["step_id"], bytes(r["task_token"])) for r in rows]

    async def open_runs(self, before_ms: int, limit: int) -> Sequence[OpenRun]:
        rows = await self._engine.read(lambda tx: tx.all(_OPEN_RUNS, before=before_ms, limit=limit))
        return [_open_run(row) for row in rows]

    async def spec_of(self, run_id: str) -> RunSpec:
        row = await self._engine.read(
            lambda tx: tx.one("SELECT spec FROM runs WHERE run_id = :id", id=run_id)
        )
        if row is None:
            raise NotFoundError(f"there is no run {run_id}")
        return RunSpec.model_validate_json(row["spec"])

    async def meta(self, key: str, value: str | None = None) -> str | None:
        if value is not None:
            await self._engine.write(lambda tx: _note(tx, key, value))
        row = await self._engine.read(
            lambda tx: tx.one("SELECT value FROM meta WHERE key = :key", key=key)
        )
        return row["value"] if row else None

    async def set_meta(self, key: str, value: str) -> None:
        sql = "UPDATE meta SET value = :value WHERE key = :key"
        await self._engine.write(lambda tx: tx.run(sql, key=key, value=value))

    async def purge_idempotency(self, before_ms: int) -> int:
        sql = "DELETE FROM idempotency WHERE created_at < :before"
        return await self._engine.write(lambda tx: tx.run(sql, before=before_ms))


def _note(tx: Tx, key: str, value: str) -> None:
    tx.run(
        "INSERT INTO meta (key, value) VALUES (:key, :value) ON CONFLICT (key) DO NOTHING",
        key=key,
        value=value,
    )
