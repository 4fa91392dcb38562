"""Figures about the work done and the workers that do it. Values only."""

from collections.abc import Mapping
from typing import Protocol

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


class ToolTrouble(BaseModel):
    """What tools in the event loop do to their process, since it began."""

    model_config = ConfigDict(frozen=True)

    left_running: int = 0
    """`async` tools that were cut and have not ended."""
    loop_stalls: int = 0
    """How often the loop stood still for a second and more while tools ran in it."""


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


class AgentFigures(BaseModel):
    """What an agent did: its runs on record. Durations in milliseconds, from start to end."""

    model_config = ConfigDict(frozen=True)

    by_state: dict[str, int] = {}
    average_ms: float | None = None
    last_active: int | None = None
    """When a run of it last began or ended, in ms."""

    @property
    def open(self) -> int:
        """Return how many runs go on."""
        return self.by_state.get("CREATED", 0) + self.by_state.get("RUNNING", 0)

    @property
    def total(self) -> int:
        """Return how many runs there were."""
        return sum(self.by_state.values())


class MemoryFigures(BaseModel):
    """How much is in transcripts."""

    model_config = ConfigDict(frozen=True)

    messages: int = 0
    tokens: int = 0


class FigureBook(Protocol):
    """Figures about agents and transcripts, for who looks at a dashboard."""

    async def agents(self, owner: str, agent_id: str | None = None) -> Mapping[str, AgentFigures]:
        """Return what agents did for an owner, those that did anything, by id."""
        ...

    async def memory(self, owner: str) -> MemoryFigures:
        """Return how much is in an owner's transcripts."""
        ...
