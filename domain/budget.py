"""Budgets: how much may be spent on what, and what happens when that is not enough.

What is held of a budget is an upper bound of the calls under way; it becomes spent, or free again,
when each call ends. So `reserved + spent <= limit` holds at every moment.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from domain.acceptance import Page

DAY_MS = 86_400_000
WARNINGS = (80, 95)
"""Percent of a budget, once spent, at which the run that spent them is warned."""


class BudgetScope(StrEnum):
    """Whose spending a budget bounds; `scope_id` names the one."""

    RUN = "run"
    """A run and all below it."""
    SESSION = "session"
    AGENT = "agent"
    GOAL = "goal"
    """A goal and the goals below it."""
    KEY = "key"
    """What was started with one API key, by its `key_id`."""
    GLOBAL = "global"
    """Everything of one owner; of every owner where `scope_id` is `*`."""


class Period(StrEnum):
    """When spending starts from nothing again."""

    NONE = "none"
    DAY = "day"
    """At midnight UTC."""


class OnExhausted(StrEnum):
    """What becomes of a run whose next call a budget does not cover."""

    ASK = "ask"
    """It waits for a person, who may raise the budget."""
    DEGRADE = "degrade"
    """It goes on with the next model of its chain, in the end with a simpler answer."""
    STOP = "stop"
    """It fails with `budget_exhausted`."""


EVERYBODY = "*"
"""The `scope_id` of a global budget over every owner."""


class Budget(BaseModel):
    """A budget as its row says. Money is a decimal string in USD."""

    model_config = ConfigDict(frozen=True)

    budget_id: str
    owner: str
    scope: BudgetScope
    scope_id: str
    limit_usd: str
    period: Period = Period.NONE
    on_exhausted: OnExhausted = OnExhausted.ASK
    reserved_usd: str = "0"
    spent_usd: str = "0"
    warnings: tuple[int, ...] = ()
    """Percentages that were passed, in the present period."""
    created_at: int
    updated_at: int


def day_of(now_ms: int) -> int:
    """Return the number of the UTC day, counted from the epoch."""
    return now_ms // DAY_MS


class BudgetBook(Protocol):
    """Budgets on record. `owner` None means any owner."""

    async def put_budget(self, budget: Budget) -> Budget:
        """Store a new budget.

        Raises:
            ConflictError: the id is taken.
        """
        ...

    async def get_budget(self, owner: str | None, budget_id: str) -> Budget:
        """Return one budget.

        Raises:
            NotFoundError: no such budget for this owner.
        """
        ...

    async def list_budgets(
        self, owner: str | None, which: dict[str, str], page: Page
    ) -> tuple[Sequence[Budget], str | None]:
        """Return budgets, newest first, of the `scope` and `scope_id` in `which`."""
        ...

    async def change_budget(
        self, owner: str | None, budget_id: str, changes: dict[str, Any]
    ) -> tuple[Budget, Sequence[str]]:
        """Change `limit_usd` or `on_exhausted`; return it and the runs that wait on it, to wake.

        Raises:
            NotFoundError: no such budget for this owner.
        """
        ...

    async def all_waiting(self) -> Sequence[str]:
        """Return every run that waits until a person says something about a budget."""
        ...

    async def delete_budget(self, owner: str | None, budget_id: str) -> Sequence[str]:
        """Remove a budget and return the runs that wait on it, to wake.

        Raises:
            NotFoundError: no such budget for this owner.
        """
        ...
