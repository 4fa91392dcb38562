"""How agents stand now: what they have open, and what is left of their budgets."""

from adapters.store.database.tx import Tx
from domain.budget import BudgetScope
from domain.learning.books import Standing

_OPEN = (
    "SELECT agent_id, count(*) AS n FROM runs WHERE state IN ('CREATED', 'RUNNING')"
    " AND owner = :owner AND agent_id IS NOT NULL GROUP BY agent_id"
)
_BUDGETS = (
    "SELECT scope, scope_id, limit_pico, reserved_pico, spent_pico FROM budgets"
    " WHERE owner = :owner AND scope IN ('agent', 'global') AND limit_pico > 0"
)


def standing(tx: Tx, owner: str) -> Standing:
    """Return how the owner's agents stand."""
    used: dict[str, float] = {}
    spent = 0.0
    for row in tx.all(_BUDGETS, owner=owner):
        share = (row["reserved_pico"] + row["spent_pico"]) / row["limit_pico"]
        if row["scope"] == BudgetScope.AGENT:
            used[row["scope_id"]] = max(share, used.get(row["scope_id"], 0.0))
        else:
            spent = max(share, spent)
    open_runs = {row["agent_id"]: row["n"] for row in tx.all(_OPEN, owner=owner)}
    return Standing(open_runs, used, spent)
