"""A worker that is half busy."""

from collections.abc import Sequence

from domain.stats import WorkerSlot
from tests.fakes.clock import NOW


class FakeWorkers:
    """A worker with two slots."""

    async def slots(self) -> Sequence[WorkerSlot]:
        return [
            WorkerSlot(
                agent_id=f"worker-1/{index}",
                state="busy" if index else "idle",
                current_step="llm-1-1" if index else None,
                processed=4,
                succeeded=3,
                failed=1,
                busy_ms=500,
                started_at=NOW - 1000,
            )
            for index in range(2)
        ]
