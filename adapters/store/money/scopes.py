"""Which calls a budget is about, as a condition on the tables of calls: `usage` and `holds`."""

from adapters.store.money.admission import BELOW
from domain.budget import EVERYBODY, Budget, BudgetScope

_TREE = (
    " AND run_id IN (WITH RECURSIVE tree(run_id) AS (SELECT run_id FROM runs"
    " WHERE run_id = :scope_id UNION SELECT r.run_id FROM runs r"
    " JOIN tree t ON r.parent_run_id = t.run_id) SELECT run_id FROM tree)"
)
_GOALS = f" AND goal_id IN ({BELOW.replace(':goal', ':scope_id')}SELECT goal_id FROM below)"
_CONDITIONS = {
    BudgetScope.RUN: _TREE,
    BudgetScope.SESSION: " AND session_id = :scope_id",
    BudgetScope.AGENT: " AND agent_id = :scope_id",
    BudgetScope.GOAL: _GOALS,
    BudgetScope.KEY: " AND key_id = :scope_id",
}


def within(budget: Budget) -> tuple[str, dict[str, object]]:
    """Return what to append to a WHERE clause that is not empty, and its parameters."""
    if budget.scope is BudgetScope.GLOBAL:
        if budget.scope_id == EVERYBODY:
            return "", {}
        return " AND owner = :owner", {"owner": budget.scope_id}
    mine: dict[str, object] = {"owner": budget.owner, "scope_id": budget.scope_id}
    return f" AND owner = :owner{_CONDITIONS[budget.scope]}", mine
