"""Changing what may be spent and what things cost: on record first, then who waited is woken.

Knows ports only. A goal that is cancelled takes its open runs along.
"""

from collections.abc import Mapping
from typing import Any

from domain.budget import Budget, BudgetBook
from domain.goal import Goal, GoalBook
from domain.handover import HandOver, Spawn
from domain.intake import Intake
from domain.ports import RunGateway
from domain.pricing import PriceBook
from domain.principal import Principal
from domain.spending import PriceOverride


class Budgeting:
    """The one way in for changes of goals and budgets, whoever asks.

    `spawn` wakes the runs behind the answer; without it the caller waits.
    """

    def __init__(
        self,
        budgets: BudgetBook,
        goals: GoalBook,
        intake: Intake,
        prices: PriceBook,
        gateway: RunGateway,
        spawn: Spawn | None = None,
    ) -> None:
        self._budgets = budgets
        self._prices = prices
        self._goals = goals
        self._intake = intake
        self._gateway = gateway
        self._hand_over = HandOver(spawn)

    async def change_budget(
        self, owner: str | None, budget_id: str, changes: dict[str, Any]
    ) -> Budget:
        """Change a budget and wake the runs that wait on it.

        Raises:
            NotFoundError: no such budget for this owner.
        """
        budget, waiting = await self._budgets.change_budget(owner, budget_id, changes)
        await self._wake(*waiting)
        return budget

    async def delete_budget(self, owner: str | None, budget_id: str) -> None:
        """Remove a budget and wake the runs that wait on it.

        Raises:
            NotFoundError: no such budget for this owner.
        """
        await self._wake(*await self._budgets.delete_budget(owner, budget_id))

    async def change_goal(self, who: Principal, goal_id: str, changes: Mapping[str, Any]) -> Goal:
        """Change a goal; wake the runs that its daily budget let wait, stop those of a cancelled.

        Raises:
            NotFoundError: no such goal for this owner.
            ConflictError: it cannot become that.
        """
        change = await self._goals.change_goal(who.owner, goal_id, changes)
        await self._wake(*change.to_wake)
        for run_id in change.to_cancel:
            await self._intake.cancel(who, run_id, f"goal {goal_id} was cancelled")
        return change.goal

    async def set_price(self, model: str, price: PriceOverride, by: str) -> None:
        """Set what a model costs, and wake the runs that wait for money: it may do now."""
        await self._prices.put_price(model, price, by)
        await self._wake(*await self._budgets.all_waiting())

    async def forget_price(self, model: str) -> None:
        """Forget what was said of a price, and wake the runs that wait for money.

        Raises:
            NotFoundError: nothing was said of this model.
        """
        await self._prices.delete_price(model)
        await self._wake(*await self._budgets.all_waiting())

    async def _wake(self, *run_ids: str) -> None:
        for run_id in run_ids:
            await self._hand_over(run_id, "wake", self._gateway.wake(run_id))
