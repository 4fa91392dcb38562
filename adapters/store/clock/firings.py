"""Rows of firings: each is one time of a schedule and has one run at most.

The row and its run are written together, so whoever asks again finds both.
"""

from collections.abc import Sequence

from adapters.store.database.pages import cut, decode_cursor
from adapters.store.database.rows import run_from
from adapters.store.database.tx import Row, Tx
from adapters.store.runs import accept
from domain.acceptance import Accepted, NewRun, Page
from domain.errors import NotFoundError
from domain.run import TERMINAL, RunSpec, RunState
from domain.schedule import Firing

_LONGEST_NOTE = 500
_SELECT = "SELECT f.*, r.state FROM firings f LEFT JOIN runs r ON r.run_id = f.run_id"
_INSERT = (
    "INSERT INTO firings (firing_id, uid, owner, schedule_id, scheduled_at, run_id, error_code,"
    " error_message, created_at, ended_at) VALUES (:firing_id, :uid, :owner, :schedule_id,"
    " :scheduled_at, :run_id, :error_code, :error_message, :now, :ended_at)"
    " ON CONFLICT (firing_id) DO NOTHING"
)


def fire(tx: Tx, new: NewRun, firing: Firing, now: int) -> Accepted:
    """Put a firing and its run on record; or return the run that it has.

    Raises:
        as `accept.accept`; nothing was kept then.
        NotFoundError: the firing is on record without a run.
    """
    if _insert(tx, firing, now):
        accepted = accept.accept(tx, new, now)
        if accepted.run.run_id != firing.run_id:
            # The message went to the run that holds its session: that is the one to wait for.
            tx.run(
                "UPDATE firings SET run_id = :run WHERE firing_id = :id",
                run=accepted.run.run_id,
                id=firing.firing_id,
            )
        return accepted
    made = fired(tx, firing.firing_id)
    if made is None:
        raise NotFoundError(f"firing {firing.firing_id} has no run")
    return made


def fired(tx: Tx, firing_id: str) -> Accepted | None:
    """Return the run of a firing as it was accepted; None when it has none."""
    row = tx.one(
        "SELECT r.* FROM firings f JOIN runs r ON r.run_id = f.run_id WHERE f.firing_id = :id",
        id=firing_id,
    )
    if row is None:
        return None
    return Accepted(
        run=run_from(row),
        queued=row["queue_seq"] is not None,
        replayed=True,
        spec=RunSpec.model_validate_json(row["spec"]),
    )


def refuse(tx: Tx, firing: Firing, now: int) -> Firing:
    """Put a firing without a run on record, which may pause; or return the one on record."""
    if _insert(tx, firing.model_copy(update={"run_id": None, "ended_at": now}), now):
        _pause(tx, firing.uid, f"a firing has no run: {firing.error_message}", now)
    return read(tx, firing.firing_id) or firing


def _insert(tx: Tx, firing: Firing, now: int) -> bool:
    return bool(
        tx.run(
            _INSERT,
            firing_id=firing.firing_id,
            uid=firing.uid,
            owner=firing.owner,
            schedule_id=firing.schedule_id,
            scheduled_at=firing.scheduled_at,
            run_id=firing.run_id,
            error_code=firing.error_code,
            error_message=firing.error_message,
            now=now,
            ended_at=firing.ended_at,
        )
    )


def read(tx: Tx, firing_id: str) -> Firing | None:
    """Return one firing."""
    row = tx.one(f"{_SELECT} WHERE f.firing_id = :id", id=firing_id)
    return firing_from(row) if row else None


def settle(tx: Tx, firing_id: str, now: int) -> Firing | None:
    """Return a firing; one whose run has ended is noted as seen, and a failure may pause."""
    found = read(tx, firing_id)
    if found is None or found.ended_at is not None or found.state not in TERMINAL:
        return found
    seen = tx.run(
        "UPDATE firings SET ended_at = :now WHERE firing_id = :id AND ended_at IS NULL",
        id=firing_id,
        now=now,
    )
    if seen and found.state is RunState.FAILED:
        made = fired(tx, firing_id)
        why = f": {made.run.error.message}" if made and made.run.error else ""
        _pause(tx, found.uid, f"run {found.run_id} failed{why}", now)
    return found.model_copy(update={"ended_at": now})


def _pause(tx: Tx, uid: str, why: str, now: int) -> None:
    """Pause a schedule that wants to be paused when a time of it fails."""
    tx.run(
        "UPDATE schedules SET paused = true, note = :note, revision = revision + 1,"
        " updated_at = :now WHERE uid = :uid AND paused = false AND deleted = false"
        " AND policy LIKE :wants",
        uid=uid,
        note=f"paused because {why}"[:_LONGEST_NOTE],
        now=now,
        wants='%"pause_on_failure":true%',
    )


def page_of(tx: Tx, uid: str, page: Page) -> tuple[Sequence[Firing], str | None]:
    """Return the firings of a schedule, newest first, and the cursor of the next page or None.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    after = decode_cursor(page.cursor, int, str)
    older, params = "", {}
    if after is not None:
        older = " AND (f.created_at, f.firing_id) < (:at, :id)"
        params = {"at": after[0], "id": after[1]}
    rows = tx.all(
        f"{_SELECT} WHERE f.uid = :uid{older} ORDER BY f.created_at DESC, f.firing_id DESC"
        " LIMIT :most",
        uid=uid,
        most=page.limit + 1,
        **params,
    )
    shown, cursor = cut(rows, page, "created_at", "firing_id")
    return [firing_from(row) for row in shown], cursor


def going(tx: Tx, uid: str | None) -> list[Firing]:
    """Return the firings of a schedule, or of all, whose run goes on."""
    only, params = ("", {}) if uid is None else (" AND f.uid = :uid", {"uid": uid})
    rows = tx.all(
        f"{_SELECT} WHERE f.ended_at IS NULL AND r.state IN ('CREATED', 'RUNNING'){only}", **params
    )
    return [firing_from(row) for row in rows]


def unseen(tx: Tx, limit: int) -> list[Firing]:
    """Return firings whose run has ended and whose workflow has not been told."""
    rows = tx.all(
        f"{_SELECT} WHERE f.ended_at IS NULL AND r.ended_at IS NOT NULL"
        " ORDER BY r.ended_at LIMIT :limit",
        limit=limit,
    )
    return [firing_from(row) for row in rows]


def waiting_for(tx: Tx, run_id: str) -> str | None:
    """Return the firing that waits for the end of a run; None of most runs."""
    sql = "SELECT firing_id FROM firings WHERE run_id = :id AND ended_at IS NULL"
    row = tx.one(sql, id=run_id)
    return row["firing_id"] if row else None


def firing_from(row: Row) -> Firing:
    """Return a row of `firings`, joined with its run's state, as a value."""
    return Firing.model_validate({name: row[name] for name in Firing.model_fields})
