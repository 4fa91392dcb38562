"""Budgets as rows. What is held of them and spent is kept by the steps; here they are made.

A new budget begins with what the ledger of the present period says, and with what is held by calls
on their way: whoever removes a budget and makes it again gains nothing.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.store.database.pages import listed, newest_first, where
from adapters.store.database.tx import Row, Tx
from adapters.store.money.scopes import within
from adapters.store.spending.asking import waiting_on
from domain.acceptance import Page
from domain.budget import (
    DAY_MS,
    WARNINGS,
    Budget,
    BudgetScope,
    OnExhausted,
    Period,
    day_of,
)
from domain.errors import ConflictError, NotFoundError
from domain.event import encode_json
from domain.money import to_pico, to_usd

_INSERT = (
    "INSERT INTO budgets (budget_id, owner, scope, scope_id, limit_pico, period, on_exhausted,"
    " reserved_pico, spent_pico, day, created_at, updated_at) VALUES (:budget_id, :owner, :scope,"
    " :scope_id, :limit, :period, :on_exhausted, :reserved, :spent, :day, :now, :now)"
    " ON CONFLICT (budget_id) DO NOTHING"
)


def put_budget(tx: Tx, budget: Budget, now: int) -> Budget:
    """Store a new budget and return it with what counts against it already.

    Raises:
        ConflictError: the id is taken.
    """
    if tx.lock:
        # Calls that were opened or billed beside this saw no such budget: they have to be on record
        # before it counts them. Each of them has looked at this table for update.
        tx.run("LOCK TABLE budgets IN EXCLUSIVE MODE")
    held = _adopt_holds(tx, budget)
    made = tx.run(
        _INSERT,
        budget_id=budget.budget_id,
        owner=budget.owner,
        scope=budget.scope.value,
        scope_id=budget.scope_id,
        limit=to_pico(budget.limit_usd),
        period=budget.period.value,
        on_exhausted=budget.on_exhausted.value,
        reserved=held,
        spent=_spent(tx, budget, now),
        day=day_of(now),
        now=now,
    )
    if not made:
        raise ConflictError(f"there is a budget {budget.budget_id}; change it with PATCH")
    return get_budget(tx, budget.owner, budget.budget_id, now)


def _spent(tx: Tx, budget: Budget, now: int) -> int:
    condition, params = within(budget)
    since = day_of(now) * DAY_MS if budget.period is Period.DAY else 0
    row = tx.one(
        f"SELECT sum(cost_pico) AS pico FROM usage WHERE created_at >= :since{condition}",
        since=since,
        **params,
    )
    return int(row["pico"] or 0) if row else 0


def _adopt_holds(tx: Tx, budget: Budget) -> int:
    """Let what calls on their way hold count against a new budget too; return how much it is."""
    condition, params = within(budget)
    held = 0
    sql = f"SELECT hold_id, pico, budget_ids FROM holds WHERE pico > 0{condition}"
    for row in tx.all(f"{sql} ORDER BY hold_id{tx.lock}", **params):
        ids = [*json.loads(row["budget_ids"]), budget.budget_id]
        tx.run(
            "UPDATE holds SET budget_ids = :ids WHERE hold_id = :id",
            ids=encode_json(ids),
            id=row["hold_id"],
        )
        held += row["pico"]
    return held


def get_budget(tx: Tx, owner: str | None, budget_id: str, now: int) -> Budget:
    """Return one budget.

    Raises:
        NotFoundError: no such budget for this owner.
    """
    return budget_from(_row(tx, owner, budget_id), now)


def list_budgets(
    tx: Tx, owner: str | None, which: Mapping[str, str], page: Page, now: int
) -> tuple[Sequence[Budget], str | None]:
    """Return budgets, newest first, and the cursor of the next page or None.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    conditions: dict[str, object] = {"owner": owner}
    conditions |= {name: which.get(name) for name in ("scope", "scope_id")}
    rows, cursor = newest_first(tx, "budgets", conditions, page, "budget_id")
    return [budget_from(row, now) for row in rows], cursor


def change_budget(
    tx: Tx, owner: str | None, budget_id: str, changes: Mapping[str, Any], now: int
) -> tuple[Budget, Sequence[str]]:
    """Change a budget; return it and the runs that wait on it.

    Raises:
        NotFoundError: no such budget for this owner.
    """
    row = _row(tx, owner, budget_id, tx.lock)
    limit = row["limit_pico"]
    if "limit_usd" in changes:
        limit = to_pico(changes["limit_usd"])
    tx.run(
        "UPDATE budgets SET limit_pico = :limit, on_exhausted = :on_exhausted, warned = :warned,"
        " updated_at = :now WHERE budget_id = :id",
        limit=limit,
        on_exhausted=str(changes.get("on_exhausted", row["on_exhausted"])),
        # A raised limit may be warned about again, at its own percentages.
        warned=min(row["warned"], passed(row["spent_pico"], limit)),
        now=now,
        id=budget_id,
    )
    return get_budget(tx, owner, budget_id, now), waiting_on(tx, budget_id)


def delete_budget(tx: Tx, owner: str | None, budget_id: str) -> Sequence[str]:
    """Remove a budget and return the runs that wait on it.

    Raises:
        NotFoundError: no such budget for this owner.
    """
    clause, params = where({"budget_id": budget_id, "owner": owner})
    if not tx.run(f"DELETE FROM budgets{clause}", **params):
        raise NotFoundError(f"there is no budget {budget_id}")
    return waiting_on(tx, budget_id)


def limits_of(tx: Tx, budget_ids: Sequence[str]) -> dict[str, int]:
    """Return the limits of those budgets that are there, in picodollars."""
    if not budget_ids:
        return {}
    marks, params = listed(budget_ids)
    rows = tx.all(
        f"SELECT budget_id, limit_pico FROM budgets WHERE budget_id IN ({marks})", **params
    )
    return {row["budget_id"]: row["limit_pico"] for row in rows}


def passed(spent_pico: int, limit_pico: int) -> int:
    """Return the highest percentage of `WARNINGS` that was passed, 0 for none."""
    return max((mark for mark in WARNINGS if spent_pico * 100 >= mark * limit_pico), default=0)


def budget_from(row: Row, now: int) -> Budget:
    """Return a row of `budgets` as it is in the present period."""
    period = Period(row["period"])
    is_over = period is Period.DAY and row["day"] < day_of(now)
    spent = 0 if is_over else row["spent_pico"]
    # One that was made, or lowered, past a mark has warned nobody: it shows all the same.
    warned = max(0 if is_over else row["warned"], passed(spent, row["limit_pico"]))
    return Budget(
        budget_id=row["budget_id"],
        owner=row["owner"],
        scope=BudgetScope(row["scope"]),
        scope_id=row["scope_id"],
        limit_usd=to_usd(row["limit_pico"]),
        period=period,
        on_exhausted=OnExhausted(row["on_exhausted"]),
        reserved_usd=to_usd(row["reserved_pico"]),
        spent_usd=to_usd(spent),
        warnings=tuple(mark for mark in WARNINGS if mark <= warned),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _row(tx: Tx, owner: str | None, budget_id: str, lock: str = "") -> Row:
    clause, params = where({"budget_id": budget_id, "owner": owner})
    row = tx.one(f"SELECT * FROM budgets{clause}{lock}", **params)
    if row is None:
        raise NotFoundError(f"there is no budget {budget_id}")
    return row
