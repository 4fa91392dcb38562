"""The `BudgetBook` over a database: each method is one transaction."""

from collections.abc import Sequence
from typing import Any

from adapters.store.database.tx import Engine
from adapters.store.money import budgets
from adapters.store.spending import asking
from domain.acceptance import Page
from domain.budget import Budget
from domain.ports import Clock


class SqlBudgetBook:
    """Budgets on record. Source of every promise: `domain.budget.BudgetBook`."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def put_budget(self, budget: Budget) -> Budget:
        """Store a new budget."""
        now = self._clock.now_ms()
        return await self._engine.write(lambda tx: budgets.put_budget(tx, budget, now))

    async def get_budget(self, owner: str | None, budget_id: str) -> Budget:
        """Return one budget."""
        now = self._clock.now_ms()
        return await self._engine.read(lambda tx: budgets.get_budget(tx, owner, budget_id, now))

    async def list_budgets(
        self, owner: str | None, which: dict[str, str], page: Page
    ) -> tuple[Sequence[Budget], str | None]:
        """Return budgets, newest first, and the next cursor."""
        now = self._clock.now_ms()
        return await self._engine.read(lambda tx: budgets.list_budgets(tx, owner, which, page, now))

    async def change_budget(
        self, owner: str | None, budget_id: str, changes: dict[str, Any]
    ) -> tuple[Budget, Sequence[str]]:
        """Change a budget; return it and the runs that wait on it."""
        now = self._clock.now_ms()
        return await self._engine.write(
            lambda tx: budgets.change_budget(tx, owner, budget_id, changes, now)
        )

    async def all_waiting(self) -> Sequence[str]:
        """Return every run that waits on a budget."""
        return await self._engine.read(asking.waiting_on)

    async def delete_budget(self, owner: str | None, budget_id: str) -> Sequence[str]:
        """Remove a budget and return the runs that wait on it."""
        return await self._engine.write(lambda tx: budgets.delete_budget(tx, owner, budget_id))
