"""Whose money a call spends, and which budgets bound it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapters.store.database.tx import Row, Tx
from domain.budget import Period, day_of

_GOALS_ABOVE = (
    "WITH RECURSIVE above(goal_id, parent_goal_id) AS ("
    " SELECT goal_id, parent_goal_id FROM goals WHERE goal_id = :goal UNION"
    " SELECT g.goal_id, g.parent_goal_id FROM goals g JOIN above a ON g.goal_id = a.parent_goal_id)"
    " SELECT goal_id FROM above"
)
_RUNS_ABOVE = (
    "WITH RECURSIVE above(run_id, parent_run_id) AS ("
    " SELECT run_id, parent_run_id FROM runs WHERE run_id = :id UNION ALL"
    " SELECT r.run_id, r.parent_run_id FROM runs r JOIN above a ON r.run_id = a.parent_run_id)"
    " SELECT run_id FROM above"
)


@dataclass(frozen=True, slots=True)
class Payer:
    """Who and what a call is made for."""

    owner: str
    run_id: str | None = None
    root_run_id: str | None = None
    is_child: bool = False
    session_id: str | None = None
    agent_id: str | None = None
    goal_id: str | None = None
    key_id: str | None = None


def payer_of(run: Row) -> Payer:
    """Return who pays for the calls of a run."""
    return Payer(
        owner=run["owner"],
        run_id=run["run_id"],
        root_run_id=run["root_run_id"],
        is_child=run["parent_run_id"] is not None,
        session_id=run["session_id"],
        agent_id=run["agent_id"],
        goal_id=run["goal_id"],
        key_id=run["key_id"],
    )


def budgets_of(tx: Tx, payer: Payer, now: int) -> list[dict[str, Any]]:
    """Return the budgets that bound a call, locked in one order, in their present period."""
    scopes = list(_scopes(tx, payer))
    params: dict[str, object] = {"owner": payer.owner}
    terms = []
    for place, (scope, scope_id) in enumerate(scopes):
        terms.append(f"(scope = '{scope}' AND scope_id = :id{place})")
        params[f"id{place}"] = scope_id
    rows = tx.all(
        f"SELECT * FROM budgets WHERE (owner = :owner AND ({' OR '.join(terms)}))"
        f" OR (scope = 'global' AND scope_id = '*') ORDER BY budget_id{tx.lock}",
        **params,
    )
    return [_in_period(tx, dict(row), now) for row in rows]


def _scopes(tx: Tx, payer: Payer) -> Sequence[tuple[str, str]]:
    named = [
        ("global", payer.owner),
        ("session", payer.session_id),
        ("agent", payer.agent_id),
        ("key", payer.key_id),
    ]
    found = [(scope, name) for scope, name in named if name is not None]
    found += [("run", run_id) for run_id in _runs(tx, payer)]
    if payer.goal_id is not None:
        above = [row["goal_id"] for row in tx.all(_GOALS_ABOVE, goal=payer.goal_id)]
        found += [("goal", goal_id) for goal_id in above or [payer.goal_id]]
    return found


def _runs(tx: Tx, payer: Payer) -> list[str]:
    if payer.run_id is None:
        return []
    if not payer.is_child:
        return [payer.run_id]
    return [row["run_id"] for row in tx.all(_RUNS_ABOVE, id=payer.run_id)]


def _in_period(tx: Tx, budget: dict[str, Any], now: int) -> dict[str, Any]:
    """Begin a new day for a budget that counts by day; what is held stays held."""
    today = day_of(now)
    # A day only moves on: the clocks of two workers differ, also around midnight.
    if budget["period"] != Period.DAY or budget["day"] >= today:
        return budget
    tx.run(
        "UPDATE budgets SET spent_pico = 0, warned = 0, day = :day WHERE budget_id = :id",
        day=today,
        id=budget["budget_id"],
    )
    return budget | {"spent_pico": 0, "warned": 0, "day": today}
