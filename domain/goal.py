"""Goals: what work is done for, how much of it may go on at once, and what it may cost a day.

The limits of a goal hold for the goals below it too. How far a goal is comes from its runs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from domain.acceptance import Page
from domain.errors import ConflictError

MAX_GOAL_DEPTH = 10
"""Goals on the way from the top to the lowest one, both included."""


class GoalState(StrEnum):
    """Where a goal stands."""

    CREATED = "created"
    """No run was started for it yet."""
    IN_PROGRESS = "in_progress"
    PAUSED = "paused"
    """It takes no new runs; those on their way go on, with the runs that they make."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """Its open runs were asked to stop."""


OPEN = frozenset({GoalState.CREATED, GoalState.IN_PROGRESS})
"""States in which a goal takes new runs."""
ENDED = frozenset({GoalState.COMPLETED, GoalState.FAILED, GoalState.CANCELLED})


class GoalPriority(StrEnum):
    """How much a goal matters to whoever set it; the queue of runs goes by their own priority."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    URGENT = "urgent"


class GoalLimits(BaseModel):
    """What is done for a goal and the goals below it, at most; None is no limit. Source: seed E."""

    model_config = ConfigDict(frozen=True)

    max_agents: int | None = 100
    """Runs of agents over its whole life."""
    max_concurrent: int | None = 10
    """Runs of agents that are open at once, waiting ones too."""
    max_cost_usd_per_day: str | None = "10"
    """Its daily budget: see `budget_of`."""


class Criterion(BaseModel):
    """What has to be true in the end, and whether somebody said that it is."""

    model_config = ConfigDict(frozen=True)

    text: str
    required: bool = True
    weight: float = 1.0
    met: bool = False
    evidence: str | None = None


class GoalProgress(BaseModel):
    """How far a goal and the goals below it are. Money is a decimal string in USD."""

    model_config = ConfigDict(frozen=True)

    runs: dict[str, int] = {}
    """How many there are in each state."""
    waiting: dict[str, int] = {}
    """Of those that run: how many wait for what."""
    spent_today_usd: str = "0"
    spent_total_usd: str = "0"
    unpriced_calls: int = 0
    """Model calls whose cost nobody knows; they are not in what was spent."""


class Goal(BaseModel):
    """A goal as its row says, with its progress. Times are milliseconds since the epoch."""

    model_config = ConfigDict(frozen=True)

    goal_id: str
    owner: str
    title: str
    description: str = ""
    state: GoalState = GoalState.CREATED
    priority: GoalPriority = GoalPriority.MEDIUM
    success_criteria: tuple[Criterion, ...] = ()
    limits: GoalLimits = GoalLimits()
    parent_goal_id: str | None = None
    progress: GoalProgress = GoalProgress()
    metadata: dict[str, Any] = {}
    created_at: int
    updated_at: int
    ended_at: int | None = None


@dataclass(frozen=True, slots=True)
class GoalChange:
    """A goal after a change, with the runs to wake because of it, and those to cancel."""

    goal: Goal
    to_wake: Sequence[str] = ()
    to_cancel: Sequence[str] = ()


def budget_of(goal_id: str) -> str:
    """Return the id of the budget that holds a goal's `max_cost_usd_per_day`."""
    return f"budget_{goal_id.removeprefix('goal_')}"


def check_goal_move(goal_id: str, before: GoalState, after: GoalState) -> None:
    """Refuse to call a goal untouched that was begun; any other move is a person's to make.

    Raises:
        ConflictError: says so.
    """
    if after is GoalState.CREATED and before is not GoalState.CREATED:
        raise ConflictError(f"goal {goal_id} is {before} and cannot become {after}")


class GoalBook(Protocol):
    """Goals on record. `owner` None means any owner; a row of another is not found."""

    async def put_goal(self, goal: Goal) -> Goal:
        """Store a new goal and its daily budget, together.

        Raises:
            ConflictError: the id is taken, the goal above it has ended, or is too deep.
            NotFoundError: there is no such goal above it for this owner.
        """
        ...

    async def get_goal(self, owner: str | None, goal_id: str) -> Goal:
        """Return one goal with its progress.

        Raises:
            NotFoundError: no such goal for this owner.
        """
        ...

    async def list_goals(
        self, owner: str | None, which: Mapping[str, str], page: Page
    ) -> tuple[Sequence[Goal], str | None]:
        """Return goals, newest first, of the `state` and `parent_goal_id` in `which`."""
        ...

    async def change_goal(
        self, owner: str | None, goal_id: str, changes: Mapping[str, Any]
    ) -> GoalChange:
        """Change fields of a goal; of `limits` those that are named.

        Raises:
            NotFoundError: no such goal for this owner.
            ConflictError: it cannot become that.
        """
        ...

    async def delete_goal(self, owner: str | None, goal_id: str) -> None:
        """Remove a goal and its budgets; its runs and the ledger stay.

        Raises:
            NotFoundError: no such goal for this owner.
            ConflictError: a run for it is open, or a goal is below it.
        """
        ...
