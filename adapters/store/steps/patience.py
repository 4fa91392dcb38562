"""A run whose model takes no calls for now says so: once per wait, not at every look."""

from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from domain.event import EventDraft, EventType
from domain.run import WaitingOn
from domain.step import TOLD_MS, CallPlan, Withheld


def begin(tx: Tx, run: Row, step_id: str, plan: CallPlan, withheld: Withheld) -> list[EventDraft]:
    """Note what the run waits for; return `run_waiting` when the wait begins."""
    if run["waiting_on"] is not None or not _is_told(plan, withheld):
        return []
    tx.run(
        "UPDATE runs SET waiting_on = :on WHERE run_id = :id",
        on=WaitingOn.MODEL.value,
        id=run["run_id"],
    )
    data = {
        "waiting_on": WaitingOn.MODEL.value,
        "reason": withheld.message,
        "model": plan.model,
        "code": withheld.code,
        "until": withheld.until,
    }
    return [EventDraft(type=EventType.RUN_WAITING, key=_key(run, step_id, "waiting"), data=data)]


def _is_told(plan: CallPlan, withheld: Withheld) -> bool:
    """Whether the run really waits: for more than a moment, and no other model is asked."""
    if plan.has_next:
        return False
    is_open = withheld.code == "circuit_open"  # who knows when a probe ends
    return is_open or (withheld.wait_ms or 0) > TOLD_MS


def end(tx: Tx, run: Row, step_id: str, now: int) -> Row:
    """Note that the model is asked, or something else waited for; return the run as it is then."""
    if run["waiting_on"] != WaitingOn.MODEL:
        return run
    data = {"waiting_on": WaitingOn.MODEL.value}
    key = _key(run, step_id, "resumed")
    resumed = EventDraft(type=EventType.RUN_RESUMED, key=key, data=data)
    row = tx.one(
        "UPDATE runs SET waiting_on = NULL, last_seq = :last WHERE run_id = :id RETURNING *",
        last=append(tx, run, [resumed], now, run["last_seq"]),
        id=run["run_id"],
    )
    assert row is not None
    return row


def _key(run: Row, step_id: str, what: str) -> str:
    """Return the key of an event of a wait: a step may wait often, and the log is longer then."""
    return f"{step_id}:{what}:{run['last_seq']}"
