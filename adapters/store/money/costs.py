"""Sums over the ledger: every attempt that reached a provider is a row of `usage`."""

from datetime import UTC, datetime

from adapters.store.database.pages import cut, decode_cursor
from adapters.store.database.tx import Engine, Row, Tx
from adapters.store.money.admission import BELOW
from domain.acceptance import Page
from domain.budget import DAY_MS
from domain.costs import CostBy, CostFilter, CostLine, CostReport

_KEYS = {
    CostBy.MODEL: "model",
    CostBy.AGENT: "agent_id",
    CostBy.SESSION: "session_id",
    CostBy.GOAL: "goal_id",
    CostBy.KEY: "key_id",
    CostBy.DAY: f"CAST(created_at / {DAY_MS} AS TEXT)",
    CostBy.RUN: "run_id",
    CostBy.TREE: "coalesce(root_run_id, run_id)",
}
_SUMS = (
    "count(*) AS calls, coalesce(sum(CASE WHEN error_code IS NULL THEN 0 ELSE 1 END), 0) AS failed,"
    " coalesce(sum(input_tokens), 0) AS input, coalesce(sum(output_tokens), 0) AS output,"
    " coalesce(sum(cached_tokens), 0) AS cached, coalesce(sum(cost_pico), 0) AS pico,"
    " coalesce(sum(CASE WHEN cost_pico IS NULL THEN 1 ELSE 0 END), 0) AS unpriced,"
    " coalesce(sum(CASE WHEN estimated THEN cost_pico ELSE 0 END), 0) AS estimated,"
    " max(created_at) AS last_at"
)
_EQUALS = ("run_id", "agent_id", "session_id", "key_id", "model")
_MOST_UNPRICED = 20


class SqlCostBook:
    """The ledger, to look at. Source of every promise: `domain.costs.CostBook`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def costs(
        self, owner: str | None, by: CostBy, which: CostFilter, page: Page
    ) -> CostReport:
        """Return a page of sums and their total."""
        return await self._engine.read(lambda tx: read_costs(tx, owner, by, which, page))


def read_costs(tx: Tx, owner: str | None, by: CostBy, which: CostFilter, page: Page) -> CostReport:
    """Return a page of sums and their total.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    clause, params = _where(owner, which)
    rows = _lines(tx, by, clause, params, page)
    shown, cursor = cut(rows, page, *_order(by))
    total = tx.one(f"SELECT {_SUMS} FROM usage{clause}", **params)
    unpriced = tx.all(
        f"SELECT model, count(*) AS calls FROM usage{clause}"
        f"{' AND' if clause else ' WHERE'} cost_pico IS NULL GROUP BY model"
        " ORDER BY calls DESC, model LIMIT :most",
        **params,
        most=_MOST_UNPRICED,
    )
    return CostReport(
        lines=[_line(row, _key(by, row["key"])) for row in shown],
        total=CostLine(None) if total is None else _line(total, None),
        unpriced=[(row["model"], int(row["calls"])) for row in unpriced],
        cursor=cursor,
    )


def _order(by: CostBy) -> tuple[str, ...]:
    return ("key",) if by is CostBy.DAY else ("micros", "key")


def _lines(tx: Tx, by: CostBy, clause: str, params: dict[str, object], page: Page) -> list[Row]:
    """Return one row more than the page has, if there are so many."""
    after, order = "", "key DESC"
    kinds: tuple[type, ...] = (str,)
    if by is not CostBy.DAY:
        kinds, order = (int, str), "micros DESC, key"
    key = decode_cursor(page.cursor, *kinds)
    if key is not None and by is CostBy.DAY:
        after, params = " WHERE key < :key", {**params, "key": key[0]}
    elif key is not None:
        after = " WHERE micros < :micros OR (micros = :micros AND key > :key)"
        params = {**params, "micros": key[0], "key": key[1]}
    # In whole microdollars: a cursor holds 64 bits, a sum of picodollars may need more.
    found = tx.all(
        "SELECT * FROM (SELECT sums.*, CAST(sums.pico / 1000000 AS BIGINT) AS micros FROM (SELECT"
        f" coalesce({_KEYS[by]}, '') AS key, {_SUMS} FROM usage{clause} GROUP BY 1) AS sums)"
        f" AS lines{after} ORDER BY {order} LIMIT :most",
        **params,
        most=page.limit + 1,
    )
    return list(found)


def _where(owner: str | None, which: CostFilter) -> tuple[str, dict[str, object]]:
    conditions, params = [], dict[str, object]()

    def add(condition: str, name: str, value: object) -> None:
        if value is not None:
            conditions.append(condition)
            params[name] = value

    add("owner = :owner", "owner", owner)
    add("created_at >= :since", "since", which.since_ms)
    add("created_at < :until", "until", which.until_ms)
    for name in _EQUALS:
        add(f"{name} = :{name}", name, getattr(which, name))
    add("coalesce(root_run_id, run_id) = :root", "root", which.root_run_id)
    below = BELOW.replace(":goal", ":goal_id")
    if owner is None:
        below = below.replace("g.owner = :owner", "true")
    within = f"(goal_id = :goal_id OR goal_id IN ({below}SELECT goal_id FROM below))"
    add(within, "goal_id", which.goal_id)
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), params


def _key(by: CostBy, key: str) -> str | None:
    if not key:
        return None
    if by is CostBy.DAY:
        return datetime.fromtimestamp(int(key) * DAY_MS / 1000, UTC).date().isoformat()
    return key


def _line(row: Row, key: str | None) -> CostLine:
    return CostLine(
        key=key,
        calls=int(row["calls"]),
        failed_calls=int(row["failed"]),
        input_tokens=int(row["input"]),
        output_tokens=int(row["output"]),
        cached_tokens=int(row["cached"]),
        priced_pico=int(row["pico"]),
        unpriced_calls=int(row["unpriced"]),
        estimated_pico=int(row["estimated"]),
        last_at=row["last_at"],
    )
