"""The `GoalBook` over a database: each method is one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from adapters.store.database.tx import Engine
from adapters.store.money import goals
from domain.acceptance import Page
from domain.goal import Goal, GoalChange
from domain.ports import Clock


class SqlGoalBook:
    """Goals on record. Source of every promise: `domain.goal.GoalBook`."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def put_goal(self, goal: Goal) -> Goal:
        """Store a new goal and its daily budget."""
        now = self._clock.now_ms()
        return await self._engine.write(lambda tx: goals.put_goal(tx, goal, now))

    async def get_goal(self, owner: str | None, goal_id: str) -> Goal:
        """Return one goal with its progress."""
        now = self._clock.now_ms()
        return await self._engine.read(lambda tx: goals.get_goal(tx, owner, goal_id, now))

    async def list_goals(
        self, owner: str | None, which: Mapping[str, str], page: Page
    ) -> tuple[Sequence[Goal], str | None]:
        """Return goals, newest first, and the next cursor."""
        now = self._clock.now_ms()
        return await self._engine.read(lambda tx: goals.list_goals(tx, owner, which, page, now))

    async def change_goal(
        self, owner: str | None, goal_id: str, changes: Mapping[str, Any]
    ) -> GoalChange:
        """Change fields of a goal."""
        now = self._clock.now_ms()
        return await self._engine.write(
            lambda tx: goals.change_goal(tx, owner, goal_id, changes, now)
        )

    async def delete_goal(self, owner: str | None, goal_id: str) -> None:
        """Remove a goal and its budgets."""
        await self._engine.write(lambda tx: goals.delete_goal(tx, owner, goal_id))
