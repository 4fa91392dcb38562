"""Runs whose work begins later: they join their session when their time has come, not before."""

from adapters.store.approvals.gate import first_events
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.sessions import transcript
from adapters.store.steps.fence import lock_session_and_run, note_execution
from domain.event import EventDraft, EventType
from domain.run import TERMINAL, WaitingOn
from domain.step import Beginning

_WHERE_SESSION = " WHERE owner = :owner AND session_id = :session_id"


def begin(tx: Tx, run_id: str, temporal_run_id: str, now: int) -> Beginning:
    """Say whether a run's work may begin; the first time that it may, the run joins its session.

    Raises:
        StepRefusedError: a later execution of the run took over.
    """
    run = lock_session_and_run(tx, run_id)
    if run["state"] in TERMINAL or run["cancel_asked_at"] is not None:
        return Beginning("ended")
    note_execution(tx, run_id, temporal_run_id)
    if run["start_at"] is None or run["begun_at"] is not None:
        return Beginning("held" if run["queue_seq"] is None else "queued")
    if now < run["start_at"]:
        _wait(tx, run, now)
        return Beginning("early", run["start_at"] - now)
    place = _join(tx, run)
    drafts, waits = first_events(run), run["waiting_on"]
    if waits == WaitingOn.TIMER:
        waits, data = None, {"waiting_on": WaitingOn.TIMER.value}
        drafts.append(EventDraft(type=EventType.RUN_RESUMED, key="timer:resumed", data=data))
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run(
        "UPDATE runs SET begun_at = :now, queue_seq = :place, waiting_on = :waits,"
        " state = 'RUNNING', started_at = coalesce(started_at, :now), last_seq = :last"
        " WHERE run_id = :id",
        now=now,
        place=place,
        waits=waits,
        last=last,
        id=run_id,
    )
    return Beginning("held" if place is None else "queued")


def _wait(tx: Tx, run: Row, now: int) -> None:
    data = {"waiting_on": WaitingOn.TIMER.value, "reason": "its work begins later"}
    waiting = EventDraft(type=EventType.RUN_WAITING, key="timer:waiting", data=data)
    last = append(tx, run, [*first_events(run), waiting], now, run["last_seq"])
    tx.run(
        "UPDATE runs SET state = 'RUNNING', waiting_on = 'timer', last_seq = :last,"
        " started_at = coalesce(started_at, :now) WHERE run_id = :id",
        last=last,
        now=now,
        id=run["run_id"],
    )


def _join(tx: Tx, run: Row) -> int | None:
    """Give the run its session, or return its place in the queue."""
    key = {"owner": run["owner"], "session_id": run["session_id"]}
    session = tx.one(f"SELECT active_run_id FROM sessions{_WHERE_SESSION}", **key)
    if session is None or session["active_run_id"] is None:
        mine = f"UPDATE sessions SET active_run_id = :run{_WHERE_SESSION}"
        tx.run(mine, **key, run=run["run_id"])
        transcript.place_messages(tx, run)
        return None
    row = tx.one(
        f"UPDATE sessions SET last_queue_seq = last_queue_seq + 1{_WHERE_SESSION}"
        " RETURNING last_queue_seq",
        **key,
    )
    return int(row["last_queue_seq"]) if row else None
