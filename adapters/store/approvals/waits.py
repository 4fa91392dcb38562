"""A run whose calls wait for people, clients or runs: begun by the first, ended with the last."""

from collections.abc import Sequence

from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from domain.event import EventDraft, EventType

_PEOPLE = "status IN ('outcome_unknown', 'waiting_approval')"
"""Tool calls that a person has to say something about."""
_CHILDREN = "status = 'waiting_child'"
"""Tool calls that made a run and wait for its end."""
CLIENTS = "status IN ('waiting', 'taken')"
"""Requests that a client has to answer."""
_BUDGETS = "kind = 'budget' AND status = 'pending'"
"""Budgets that a person is asked to raise."""
_KINDS = (
    ("approval", "tool_calls", _PEOPLE, "another call waits"),
    ("child", "tool_calls", _CHILDREN, "another run works"),
    ("client_tool", "tool_requests", CLIENTS, "a client runs a tool"),
    ("budget", "approvals", _BUDGETS, "a budget is used up"),
)
"""What a run says that it waits for, the first of them that is true."""


def begin(
    tx: Tx,
    run: Row,
    drafts: Sequence[EventDraft],
    why: tuple[str, str],
    now: int,
    on: str = "approval",
) -> None:
    """Append `drafts` and `run_waiting`, and park the run. `why` is an event key and a reason."""
    key, reason = why
    if on != "approval" and run["waiting_on"] is not None:
        waits, on = [], run["waiting_on"]
    else:
        waits = [_waiting(key, on, reason)]
    last = append(tx, run, [*drafts, *waits], now, run["last_seq"])
    tx.run(
        "UPDATE runs SET last_seq = :last, waiting_on = :on, state = 'RUNNING',"
        " started_at = coalesce(started_at, :now) WHERE run_id = :id",
        last=last,
        on=on,
        now=now,
        id=run["run_id"],
    )


def end(tx: Tx, run: Row, key: str) -> list[EventDraft]:
    """Return `run_resumed` once no call of the run waits any more, or what it still waits for."""
    left = [kind for kind in _KINDS if _is_left(tx, run, kind[1], kind[2])]
    if run["waiting_on"] in [kind[0] for kind in left]:
        return []
    now_on = left[0][0] if left else None
    tx.run("UPDATE runs SET waiting_on = :on WHERE run_id = :run", on=now_on, run=run["run_id"])
    if now_on is not None:
        return [_waiting(key, now_on, left[0][3])]
    data = {"waiting_on": run["waiting_on"] or "approval"}
    return [EventDraft(type=EventType.RUN_RESUMED, key=key, data=data)]


def _is_left(tx: Tx, run: Row, table: str, which: str) -> bool:
    sql = f"SELECT 1 AS one FROM {table} WHERE run_id = :run AND {which} LIMIT 1"
    return tx.one(sql, run=run["run_id"]) is not None


def _waiting(key: str, what: str, reason: str) -> EventDraft:
    data = {"waiting_on": what, "reason": reason}
    return EventDraft(type=EventType.RUN_WAITING, key=key, data=data)
