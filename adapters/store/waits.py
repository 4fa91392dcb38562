"""A run that waits for people or clients: begun by the first call, ended with the last."""

from collections.abc import Sequence

from adapters.store.appender import append
from adapters.store.tx import Row, Tx
from domain.event import EventDraft, EventType

WAITS = "status IN ('outcome_unknown', 'waiting_approval')"
"""Tool calls that a person has to say something about."""
CLIENTS = "status IN ('waiting', 'taken')"
"""Requests that a client has to answer. A run that waits for both waits for people, it says."""


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
    if on == "client_tool" and run["waiting_on"] is not None:
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
    is_at = {"run": run["run_id"]}
    if tx.one(f"SELECT 1 FROM tool_calls WHERE run_id = :run AND {WAITS} LIMIT 1", **is_at):
        return []
    clients = tx.one(
        f"SELECT 1 FROM tool_requests WHERE run_id = :run AND {CLIENTS} LIMIT 1", **is_at
    )
    left = "client_tool" if clients else None
    if left is not None and left == run["waiting_on"]:
        return []
    tx.run("UPDATE runs SET waiting_on = :left WHERE run_id = :run", left=left, **is_at)
    if left is not None:
        return [_waiting(key, left, "a client runs a tool")]
    data = {"waiting_on": run["waiting_on"] or "approval"}
    return [EventDraft(type=EventType.RUN_RESUMED, key=key, data=data)]


def _waiting(key: str, what: str, reason: str) -> EventDraft:
    data = {"waiting_on": what, "reason": reason}
    return EventDraft(type=EventType.RUN_WAITING, key=key, data=data)
