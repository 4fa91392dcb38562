"""Figures about the work done and the workers that do it. Values only."""

from pydantic import BaseModel, ConfigDict


class RunStats(BaseModel):
    """Counts and times over the runs on record (durations in milliseconds, from start to end)."""

    model_config = ConfigDict(frozen=True)

    total: int
    by_state: dict[str, int]
    waiting: dict[str, int]
    """Open runs by what they wait for."""
    average_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    wait_p95_ms: float | None
    """From acceptance to the first step."""
    failed_tool_runs: int = 0
    """Runs of kind tool that are DONE because they have an answer, and the answer is an error."""

    @property
    def succeeded(self) -> int:
        """Return how many runs did what was asked."""
        return max(0, self.by_state.get("DONE", 0) - self.failed_tool_runs)

    @property
    def failed(self) -> int:
        """Return how many runs ended without doing what was asked, other than by a cancel."""
        return self.by_state.get("FAILED", 0) + self.failed_tool_runs

    @property
    def success_rate(self) -> float | None:
        """Return those that succeeded over all that ended, None before any has."""
        ended = sum(self.by_state.get(state, 0) for state in ("DONE", "FAILED", "CANCELLED"))
        return self.succeeded / ended if ended else None


class WorkerSlot(BaseModel):
    """One place of a worker where a step can run. Source: seed C, agents of the pool."""

    model_config = ConfigDict(frozen=True)

    agent_id: str
    """`<worker id>/<n>`: the seed calls a slot an agent."""
    state: str
    """`idle` or `busy`."""
    current_step: str | None
    processed: int
    succeeded: int
    failed: int
    busy_ms: int
    started_at: int
