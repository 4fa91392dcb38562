"""Worker slots as workers elsewhere put them on record."""

from collections.abc import Sequence

from adapters.store.database.tx import Engine, Row, Tx
from domain.stats import WorkerSlot

_FIGURES = (
    "SELECT s.worker_id, s.run_id, s.step_id, s.state, s.opened_at, s.closed_at, t.status"
    " FROM steps s LEFT JOIN tool_calls t ON t.run_id = s.run_id AND t.step_id = s.step_id"
    " WHERE s.worker_id = :worker ORDER BY s.opened_at DESC LIMIT 1000"
)


class StoredPool:
    """The slots of workers elsewhere: one per busy step, and one row for what is idle.

    Figures are those of each worker's last 1,000 steps.
    """

    def __init__(self, engine: Engine, slots_per_worker: int) -> None:
        self._engine = engine
        self._slots = slots_per_worker

    async def slots(self) -> Sequence[WorkerSlot]:
        """Return every slot of every worker that holds a lease."""
        return await self._engine.read(self._read)

    def _read(self, tx: Tx) -> list[WorkerSlot]:
        found: list[WorkerSlot] = []
        for lease in tx.all("SELECT holder FROM leases WHERE name LIKE 'worker:%' ORDER BY name"):
            worker = lease["holder"]
            found += _slots_of(worker, tx.all(_FIGURES, worker=worker), self._slots)
        return found


def _slots_of(worker: str, steps: Sequence[Row], count: int) -> list[WorkerSlot]:
    busy = [row for row in steps if row["state"] == "open"]
    ended = [row for row in steps if row["closed_at"] is not None]
    failed = sum(1 for row in ended if row["status"] in ("failed", "timeout"))
    slots = []
    for number in range(max(count, len(busy))):
        step = busy[number] if number < len(busy) else None
        # What ended is counted once, on the first slot: the store does not know which slot ran it.
        is_first = number == 0
        slots.append(
            WorkerSlot(
                agent_id=f"{worker}/{number}",
                state="busy" if step else "idle",
                current_step=f"{step['run_id']}:{step['step_id']}" if step else None,
                processed=len(ended) if is_first else 0,
                succeeded=len(ended) - failed if is_first else 0,
                failed=failed if is_first else 0,
                busy_ms=sum(r["closed_at"] - r["opened_at"] for r in ended) if is_first else 0,
                started_at=min((row["opened_at"] for row in steps), default=0),
            )
        )
    return slots
