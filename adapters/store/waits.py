"""A run that waits for a person: begun by the first call that needs one, ended with the last."""

from collections.abc import Sequence

from adapters.store.appender import append
from adapters.store.tx import Row, Tx
from domain.event import EventDraft, EventType

WAITS = "status IN ('outcome_unknown', 'waiting_approval')"
"""Tool calls that a person has to say something about."""


def begin(tx: Tx, run: Row, drafts: Sequence[EventDraft], why: tuple[str, str], now: int) -> None:
    """Append `drafts` and `run_waiting`, and park the run. `why` is an event key and a reason."""
    key, reason = why
    data = {"waiting_on": "approval", "reason": reason}
    waiting = EventDraft(type=EventType.RUN_WAITING, key=key, data=data)
    last = append(tx, run, [*drafts, waiting], now, run["last_seq"])
    tx.run(
        "UPDATE runs SET last_seq = :last, waiting_on = 'approval', state = 'RUNNING',"
        " started_at = coalesce(started_at, :now) WHERE run_id = :id",
        last=last,
        now=now,
        id=run["run_id"],
    )


def end(tx: Tx, run: Row, key: str) -> list[EventDraft]:
    """Return `run_resumed` once no call of the run waits for a person any more."""
    others = tx.one(
        f"SELECT 1 FROM tool_calls WHERE run_id = :run AND {WAITS} LIMIT 1", run=run["run_id"]
    )
    if others is not None:
        return []
    tx.run("UPDATE runs SET waiting_on = NULL WHERE run_id = :run", run=run["run_id"])
    return [EventDraft(type=EventType.RUN_RESUMED, key=key, data={"waiting_on": "approval"})]
