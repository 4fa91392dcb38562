"""Goals, budgets and prices in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.acceptance import Page
from domain.budget import Budget, BudgetScope
from domain.costs import CostBy, CostFilter, CostLine, CostReport
from domain.errors import NotFoundError
from domain.goal import Goal, GoalChange, GoalState, check_goal_move
from domain.principal import LOCAL_OWNER
from domain.spending import ModelHealth, PriceOverride
from tests.fakes.clock import NOW
from tests.fakes.listing import paged, sees


class FakeGoals:
    """Goals in memory; their progress is what the test says."""

    def __init__(self) -> None:
        self.rows: dict[str, Goal] = {}
        self.to_wake: list[str] = []
        self.to_cancel: list[str] = []

    def furnish(self) -> None:
        """Put one goal there."""
        self.rows["goal_01k9"] = Goal(
            goal_id="goal_01k9", owner=LOCAL_OWNER, title="Launch", created_at=NOW, updated_at=NOW
        )

    async def put_goal(self, goal: Goal) -> Goal:
        if goal.parent_goal_id is not None:
            await self.get_goal(goal.owner, goal.parent_goal_id)
        self.rows[goal.goal_id] = goal
        return goal

    async def get_goal(self, owner: str | None, goal_id: str) -> Goal:
        goal = self.rows.get(goal_id)
        if goal is None or not sees(owner, goal.owner):
            raise NotFoundError(f"there is no goal {goal_id}")
        return goal

    async def list_goals(
        self, owner: str | None, which: Mapping[str, str], page: Page
    ) -> tuple[Sequence[Goal], str | None]:
        found = [
            goal
            for goal in reversed(self.rows.values())
            if sees(owner, goal.owner)
            and which.get("state") in {None, goal.state}
            and which.get("parent_goal_id") in {None, goal.parent_goal_id}
        ]
        return paged(found, page)

    async def change_goal(
        self, owner: str | None, goal_id: str, changes: Mapping[str, Any]
    ) -> GoalChange:
        goal = await self.get_goal(owner, goal_id)
        limits = goal.limits.model_copy(update=dict(changes.get("limits", {})))
        changed = goal.model_copy(update={**changes, "limits": limits})
        check_goal_move(goal_id, goal.state, changed.state)
        self.rows[goal_id] = changed
        stopped = self.to_cancel if changed.state is GoalState.CANCELLED else ()
        return GoalChange(changed, self.to_wake, stopped)

    async def delete_goal(self, owner: str | None, goal_id: str) -> None:
        await self.get_goal(owner, goal_id)
        del self.rows[goal_id]


class FakeBudgets:
    """Budgets in memory; who waits on them is what the test says."""

    def __init__(self) -> None:
        self.rows: dict[str, Budget] = {}
        self.waiting: list[str] = []

    def furnish(self) -> None:
        """Put one budget there."""
        self.rows["budget_01k9"] = Budget(
            budget_id="budget_01k9",
            owner=LOCAL_OWNER,
            scope=BudgetScope.AGENT,
            scope_id="assistant",
            limit_usd="5",
            created_at=NOW,
            updated_at=NOW,
        )

    async def put_budget(self, budget: Budget) -> Budget:
        self.rows[budget.budget_id] = budget
        return budget

    async def get_budget(self, owner: str | None, budget_id: str) -> Budget:
        budget = self.rows.get(budget_id)
        if budget is None or not sees(owner, budget.owner):
            raise NotFoundError(f"there is no budget {budget_id}")
        return budget

    async def list_budgets(
        self, owner: str | None, which: dict[str, str], page: Page
    ) -> tuple[Sequence[Budget], str | None]:
        found = [
            budget
            for budget in reversed(self.rows.values())
            if sees(owner, budget.owner)
            and which.get("scope") in {None, budget.scope}
            and which.get("scope_id") in {None, budget.scope_id}
        ]
        return paged(found, page)

    async def change_budget(
        self, owner: str | None, budget_id: str, changes: dict[str, Any]
    ) -> tuple[Budget, Sequence[str]]:
        known = await self.get_budget(owner, budget_id)
        self.rows[budget_id] = Budget.model_validate({**known.model_dump(), **changes})
        return self.rows[budget_id], self.waiting

    async def all_waiting(self) -> Sequence[str]:
        return self.waiting

    async def delete_budget(self, owner: str | None, budget_id: str) -> Sequence[str]:
        await self.get_budget(owner, budget_id)
        del self.rows[budget_id]
        return self.waiting


class FakePriceBook:
    """Prices in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, PriceOverride] = {}

    async def put_price(self, model: str, price: PriceOverride, by: str) -> None:
        assert by
        self.rows[model] = price

    async def delete_price(self, model: str) -> None:
        if self.rows.pop(model, None) is None:
            raise NotFoundError(f"no price was set for {model}")

    async def list_prices(self) -> Mapping[str, PriceOverride]:
        return self.rows


class FakeCosts:
    """A ledger that says what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.lines: list[CostLine] = []
        self.unpriced: list[tuple[str, int]] = []
        self.asked: list[tuple[str | None, CostBy, CostFilter]] = []

    async def costs(
        self, owner: str | None, by: CostBy, which: CostFilter, page: Page
    ) -> CostReport:
        self.asked.append((owner, by, which))
        shown, cursor = paged(self.lines, page)
        total = CostLine(
            None,
            calls=sum(line.calls for line in self.lines),
            priced_pico=sum(line.priced_pico for line in self.lines),
            unpriced_calls=sum(line.unpriced_calls for line in self.lines),
        )
        return CostReport(shown, total, self.unpriced, cursor)


class FakeModelHealth:
    """What is noted of models, as the test says."""

    def __init__(self) -> None:
        self.rows: list[ModelHealth] = []

    async def model_health(self) -> Sequence[ModelHealth]:
        return self.rows
