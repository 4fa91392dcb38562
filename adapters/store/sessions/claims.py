"""Claiming a session for a new message: it is free, or held, and then the policy says what happens.

Sessions are locked before runs: see `fence.lock_session_and_run`.
"""

from dataclasses import dataclass

from adapters.store.database.tx import Row, Tx
from adapters.store.runs.cancelling import ask_cancel
from domain.acceptance import NewRun
from domain.errors import NotFoundError, SessionBusyError
from domain.run import TERMINAL
from domain.session import OnBusy

_WHERE = " WHERE owner = :owner AND session_id = :session_id"


@dataclass(frozen=True, slots=True)
class Claim:
    """What becomes of a message.

    `arrival` is its place among those that came while the session was held, None for whoever holds
    it. `steers` is the run that takes the message in; `stopped` are the runs that make way for it.
    """

    arrival: int | None = None
    steers: str | None = None
    stopped: tuple[str, ...] = ()


def claim_session(tx: Tx, new: NewRun, now: int) -> Claim:
    """Claim the session of a message, or say how it comes to its turn.

    Raises:
        SessionBusyError: the session is held, and the policy is `reject`.
        NotFoundError: the session was deleted in this moment.
    """
    if new.session_id is None:
        return Claim()
    session = _lock(tx, new, now)
    if new.start_at is not None:
        return Claim()  # it joins the session when its time has come
    holder = session["active_run_id"]
    if holder is None:
        _set(tx, new, "active_run_id = :run", run=new.run_id)
        return Claim()
    policy = new.on_busy or OnBusy(session["on_busy"])
    if policy is OnBusy.REJECT:
        raise SessionBusyError(
            f"session {new.session_id} is held by run {holder}; wait for it or use on_busy=enqueue"
        )
    _set(tx, new, "last_queue_seq = last_queue_seq + 1")
    arrival = int(session["last_queue_seq"]) + 1
    if policy is OnBusy.STEER and _listens(tx, holder):
        return Claim(arrival, steers=holder)
    stopped = _stop_all(tx, new, now) if policy is OnBusy.INTERRUPT else ()
    return Claim(arrival, stopped=stopped)


def _lock(tx: Tx, new: NewRun, now: int) -> Row:
    key = {"owner": new.owner, "session_id": new.session_id}
    tx.run(
        "INSERT INTO sessions (owner, session_id, on_busy, created_at) VALUES"
        " (:owner, :session_id, :on_busy, :now) ON CONFLICT (owner, session_id) DO NOTHING",
        **key,
        on_busy=OnBusy.ENQUEUE.value,  # what the request says is for this message alone
        now=now,
    )
    columns = "active_run_id, on_busy, last_queue_seq"
    session = tx.one(f"SELECT {columns} FROM sessions{_WHERE}{tx.lock}", **key)
    if session is None:
        raise NotFoundError(f"session {new.session_id} was deleted; send the message again")
    return session


def _set(tx: Tx, new: NewRun, change: str, **values: object) -> None:
    key = {"owner": new.owner, "session_id": new.session_id}
    tx.run(f"UPDATE sessions SET {change}{_WHERE}", **key, **values)


def _listens(tx: Tx, run_id: str) -> bool:
    """Whether a run will ask its model again, as far as one knows: then it can be steered."""
    run = tx.one(f"SELECT state, cancel_asked_at FROM runs WHERE run_id = :id{tx.lock}", id=run_id)
    return run is not None and run["state"] not in TERMINAL and run["cancel_asked_at"] is None


def _stop_all(tx: Tx, new: NewRun, now: int) -> tuple[str, ...]:
    """Ask every earlier run of the session to stop; what was said to them keeps its place.

    Whether a run waits or works makes no difference: which of the two is an accident of a moment.
    """
    earlier = tx.all(
        f"SELECT run_id, queue_seq FROM runs{_WHERE} AND state IN ('CREATED', 'RUNNING')"
        " AND cancel_asked_at IS NULL AND (start_at IS NULL OR begun_at IS NOT NULL)"
        " ORDER BY coalesce(queue_seq, 0)",
        owner=new.owner,
        session_id=new.session_id,
    )
    for run in earlier:
        ask_cancel(tx, new.owner, run["run_id"], f"interrupted by run {new.run_id}", now)
        tx.run(
            "UPDATE messages SET arrival = :arrival"
            " WHERE run_id = :id AND seq IS NULL AND arrival IS NULL",
            arrival=run["queue_seq"],
            id=run["run_id"],
        )
    return tuple(run["run_id"] for run in earlier)
