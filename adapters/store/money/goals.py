"""Goals as rows, each with the daily budget that was made with it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.store.database.pages import newest_first, where
from adapters.store.database.tx import Row, Tx
from adapters.store.money import budgets, progress
from adapters.store.money.admission import BELOW, lock_line
from domain.acceptance import Page
from domain.budget import Budget, BudgetScope, OnExhausted, Period
from domain.errors import ConflictError, NotFoundError
from domain.event import encode_json
from domain.goal import (
    ENDED,
    MAX_GOAL_DEPTH,
    Criterion,
    Goal,
    GoalChange,
    GoalLimits,
    GoalPriority,
    GoalProgress,
    GoalState,
    budget_of,
    check_goal_move,
)
from domain.money import to_usd

_INSERT = (
    "INSERT INTO goals (goal_id, owner, title, description, state, priority, success_criteria,"
    " max_agents, max_concurrent, parent_goal_id, metadata, created_at, updated_at) VALUES"
    " (:goal_id, :owner, :title, :description, :state, :priority, :criteria, :max_agents,"
    " :max_concurrent, :parent, :metadata, :now, :now) ON CONFLICT (goal_id) DO NOTHING"
)
_UPDATE = (
    "UPDATE goals SET title = :title, description = :description, state = :state,"
    " priority = :priority, success_criteria = :criteria, max_agents = :max_agents,"
    " max_concurrent = :max_concurrent, metadata = :metadata, updated_at = :now,"
    " ended_at = :ended_at WHERE goal_id = :goal_id"
)
_OPEN = (
    f"{BELOW}SELECT r.run_id FROM runs r WHERE r.goal_id IN (SELECT goal_id FROM below)"
    " AND r.state IN ('CREATED', 'RUNNING')"
)
_OPEN_TOPS = (
    f"{_OPEN} AND NOT EXISTS (SELECT 1 FROM runs p WHERE p.run_id = r.parent_run_id"
    " AND p.state IN ('CREATED', 'RUNNING')) ORDER BY r.created_at, r.run_id"
)
"""Below no run that is open: what was let go works on after its parent."""


def put_goal(tx: Tx, goal: Goal, now: int) -> Goal:
    """Store a new goal and its daily budget.

    Raises:
        ConflictError: the id is taken, the goal above it has ended, or is too deep.
        NotFoundError: there is no such goal above it for this owner.
    """
    _check_parent(tx, goal)
    if not tx.run(_INSERT, owner=goal.owner, parent=goal.parent_goal_id, **_columns(goal, now)):
        raise ConflictError(f"there is a goal {goal.goal_id}")
    limit = goal.limits.max_cost_usd_per_day
    if limit is not None:
        budgets.put_budget(tx, _daily(goal, limit, now), now)
    return get_goal(tx, goal.owner, goal.goal_id, now)


def get_goal(tx: Tx, owner: str | None, goal_id: str, now: int) -> Goal:
    """Return one goal with its progress.

    Raises:
        NotFoundError: no such goal for this owner.
    """
    return _goals_from(tx, [_row(tx, owner, goal_id)], now)[0]


def list_goals(
    tx: Tx, owner: str | None, which: Mapping[str, str], page: Page, now: int
) -> tuple[Sequence[Goal], str | None]:
    """Return goals, newest first, and the cursor of the next page or None.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    conditions: dict[str, object] = {"owner": owner}
    conditions |= {name: which.get(name) for name in ("state", "parent_goal_id")}
    rows, cursor = newest_first(tx, "goals", conditions, page, "goal_id")
    return _goals_from(tx, rows, now), cursor


def change_goal(
    tx: Tx, owner: str | None, goal_id: str, changes: Mapping[str, Any], now: int
) -> GoalChange:
    """Change fields of a goal; of `limits` those that are named.

    Raises:
        NotFoundError: no such goal for this owner.
        ConflictError: it cannot become that.
    """
    row = _row(tx, owner, goal_id, tx.lock)
    known = _goals_from(tx, [row], now)[0]
    limits = known.limits.model_copy(update=dict(changes.get("limits", {})))
    changed = known.model_copy(update={**changes, "limits": limits})
    check_goal_move(goal_id, known.state, changed.state)
    ended_at = (known.ended_at or now) if changed.state in ENDED else None
    tx.run(_UPDATE, ended_at=ended_at, **_columns(changed, now))
    to_wake: Sequence[str] = ()
    if limits.max_cost_usd_per_day != known.limits.max_cost_usd_per_day:
        to_wake = _recap(tx, changed, now)
    to_cancel: Sequence[str] = ()
    if changed.state is GoalState.CANCELLED:
        found = tx.all(_OPEN_TOPS, goal=goal_id, owner=known.owner)
        to_cancel = [row["run_id"] for row in found]
    return GoalChange(get_goal(tx, owner, goal_id, now), to_wake, to_cancel)


def delete_goal(tx: Tx, owner: str | None, goal_id: str) -> None:
    """Remove a goal and its budgets.

    Raises:
        NotFoundError: no such goal for this owner.
        ConflictError: a run for it is open, or a goal is below it.
    """
    row = _row(tx, owner, goal_id, tx.lock)
    mine = {"goal": goal_id, "owner": row["owner"]}
    if tx.one(f"{_OPEN} LIMIT 1", **mine) is not None:
        raise ConflictError(f"goal {goal_id} has open runs; make its state cancelled first")
    below = "SELECT 1 AS one FROM goals WHERE parent_goal_id = :goal AND owner = :owner LIMIT 1"
    if tx.one(below, **mine) is not None:
        raise ConflictError(f"there are goals below goal {goal_id}; delete them first")
    tx.run(
        "DELETE FROM budgets WHERE scope = 'goal' AND scope_id = :goal AND owner = :owner", **mine
    )
    tx.run("DELETE FROM goals WHERE goal_id = :goal AND owner = :owner", **mine)


def _check_parent(tx: Tx, goal: Goal) -> None:
    above = goal.parent_goal_id
    if above is None:
        return
    line = lock_line(tx, goal.owner, above)
    if not line:
        raise NotFoundError(f"there is no goal {above}", field="parent_goal_id")
    if line[-1]["state"] in ENDED:
        raise ConflictError(f"goal {above} is {line[-1]['state']}; choose another parent_goal_id")
    if len(line) >= MAX_GOAL_DEPTH:
        raise ConflictError(
            f"goal {above} is {len(line)} goals deep, which is the deepest there is"
        )


def _row(tx: Tx, owner: str | None, goal_id: str, lock: str = "") -> Row:
    clause, params = where({"goal_id": goal_id, "owner": owner})
    row = tx.one(f"SELECT * FROM goals{clause}{lock}", **params)
    if row is None:
        raise NotFoundError(f"there is no goal {goal_id}")
    return row


def _columns(goal: Goal, now: int) -> dict[str, object]:
    return {
        "goal_id": goal.goal_id,
        "title": goal.title,
        "description": goal.description,
        "state": goal.state.value,
        "priority": goal.priority.value,
        "criteria": encode_json([one.model_dump() for one in goal.success_criteria]),
        "max_agents": goal.limits.max_agents,
        "max_concurrent": goal.limits.max_concurrent,
        "metadata": encode_json(goal.metadata),
        "now": now,
    }


def _daily(goal: Goal, limit_usd: str, now: int) -> Budget:
    return Budget(
        budget_id=budget_of(goal.goal_id),
        owner=goal.owner,
        scope=BudgetScope.GOAL,
        scope_id=goal.goal_id,
        limit_usd=limit_usd,
        period=Period.DAY,
        on_exhausted=OnExhausted.ASK,
        created_at=now,
        updated_at=now,
    )


def _recap(tx: Tx, goal: Goal, now: int) -> Sequence[str]:
    """Bring the daily budget in line with a changed limit; return the runs that waited on it."""
    limit, budget_id = goal.limits.max_cost_usd_per_day, budget_of(goal.goal_id)
    if limit is None:
        return budgets.delete_budget(tx, goal.owner, budget_id)
    try:
        return budgets.change_budget(tx, goal.owner, budget_id, {"limit_usd": limit}, now)[1]
    except NotFoundError:
        budgets.put_budget(tx, _daily(goal, limit, now), now)
        return ()


def _goals_from(tx: Tx, rows: Sequence[Row], now: int) -> list[Goal]:
    ids = [row["goal_id"] for row in rows]
    progress_of = progress.read(tx, ids, now)
    limits = budgets.limits_of(tx, [budget_of(goal_id) for goal_id in ids])
    return [_goal_from(row, limits, progress_of[row["goal_id"]]) for row in rows]


def _goal_from(row: Row, daily: Mapping[str, int], progressed: GoalProgress) -> Goal:
    pico = daily.get(budget_of(row["goal_id"]))
    return Goal(
        goal_id=row["goal_id"],
        owner=row["owner"],
        title=row["title"],
        description=row["description"],
        state=GoalState(row["state"]),
        priority=GoalPriority(row["priority"]),
        success_criteria=tuple(
            Criterion.model_validate(one) for one in json.loads(row["success_criteria"])
        ),
        limits=GoalLimits(
            max_agents=row["max_agents"],
            max_concurrent=row["max_concurrent"],
            max_cost_usd_per_day=None if pico is None else to_usd(pico),
        ),
        parent_goal_id=row["parent_goal_id"],
        progress=progressed,
        metadata=json.loads(row["metadata"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        ended_at=row["ended_at"],
    )
