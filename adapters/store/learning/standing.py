"""How agents stand now: their open runs, budgets, circuits of models, and who is pinned."""

from adapters.store.database.tx import Row, Tx
from adapters.store.learning.pins import find_pin
from adapters.store.money.prices import read_prices
from adapters.store.spending.health import circuits
from domain.budget import BudgetScope, OnExhausted, Period, day_of
from domain.learning.books import Asker, Standing

_OPEN = (
    "SELECT agent_id, count(*) AS n FROM runs WHERE state IN ('CREATED', 'RUNNING')"
    " AND owner = :owner AND agent_id IS NOT NULL GROUP BY agent_id"
)
_BUDGETS = (
    "SELECT scope, scope_id, limit_pico, reserved_pico, spent_pico, period, day, on_exhausted"
    " FROM budgets WHERE owner = :owner AND (scope IN ('agent', 'global')"
    " OR (scope = 'session' AND scope_id = :session_id)"
    " OR (scope = 'goal' AND scope_id = :goal_id) OR (scope = 'key' AND scope_id = :key_id))"
)


def standing(tx: Tx, asker: Asker, now: int) -> Standing:
    """Return how the owner's agents stand, for whoever asks."""
    used: dict[str, float] = {}
    left: dict[str, int] = {}
    spent = 0.0
    rows = tx.all(
        _BUDGETS,
        owner=asker.owner,
        session_id=asker.session_id or "",
        goal_id=asker.goal_id or "",
        key_id=asker.key_id or "",
    )
    for row in rows:
        share, agent_id = _share(row, now), row["scope_id"]
        if row["scope"] != BudgetScope.AGENT:
            spent = max(share, spent)
            continue
        used[agent_id] = max(share, used.get(agent_id, 0.0))
        if row["on_exhausted"] == OnExhausted.STOP:
            rest = row["limit_pico"] - _spent(row, now)
            left[agent_id] = min(rest, left.get(agent_id, rest))
    pin = find_pin(tx, asker.owner)
    open_models, probing_models = circuits(tx, now)
    return Standing(
        open_runs={row["agent_id"]: row["n"] for row in tx.all(_OPEN, owner=asker.owner)},
        budget_used=used,
        spent=spent,
        pinned=pin["agent_id"] if pin else None,
        left=left,
        prices=read_prices(tx) if left else {},
        open_models=open_models,
        probing_models=probing_models,
    )


def _share(row: Row, now: int) -> float:
    """Return which share of a budget is held or spent in the present period."""
    if not row["limit_pico"]:
        return 1.0
    return float((row["reserved_pico"] + _spent(row, now)) / row["limit_pico"])


def _spent(row: Row, now: int) -> int:
    # Its row is of the day of its last call: nobody writes at midnight.
    is_over = row["period"] == Period.DAY and row["day"] < day_of(now)
    return 0 if is_over else int(row["spent_pico"])
