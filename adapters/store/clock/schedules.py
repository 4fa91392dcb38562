"""Rows of schedules: made, changed, marked as gone, and what the engine was told of them."""

from collections.abc import Sequence

from adapters.store.database.pages import newest_first
from adapters.store.database.tx import Row, Tx
from adapters.store.runs import keys
from domain.acceptance import IdempotencyKey, Page
from domain.errors import ConflictError, NotFoundError
from domain.schedule import Schedule, SchedulePolicy, ScheduleSpec
from domain.scheduling import NewSchedule, ScheduleChanges, Trigger

_INSERT = (
    "INSERT INTO schedules (uid, owner, schedule_id, run, ask, spec, policy, paused, note,"
    " revision, applied_revision, deleted, created_by, created_at, updated_at) VALUES (:uid,"
    " :owner, :schedule_id, :run, :ask, :spec, :policy, :paused, :note, 1, 0, false, :created_by,"
    " :now, :now) ON CONFLICT (owner, schedule_id) WHERE deleted = false DO NOTHING"
)

_DONE = "done"
_SETTLING_MS = 10_000


def add(tx: Tx, new: NewSchedule, now: int) -> Schedule:
    """Make a schedule.

    Raises:
        ConflictError: this owner has one of that id.
    """
    made = tx.run(
        _INSERT,
        uid=new.uid,
        owner=new.owner,
        schedule_id=new.schedule_id,
        run=new.run,
        ask=new.ask,
        spec=new.spec.model_dump_json(),
        policy=new.policy.model_dump_json(),
        paused=new.paused,
        note=new.note,
        created_by=new.created_by,
        now=now,
    )
    if not made:
        raise ConflictError(
            f"there is a schedule {new.schedule_id}; change it with PATCH, or choose another id"
        )
    return get(tx, new.owner, new.schedule_id)


def get(tx: Tx, owner: str | None, schedule_id: str, lock: str = "") -> Schedule:
    """Return one schedule, its row locked if `lock` says so.

    Raises:
        NotFoundError: no such schedule for this owner.
    """
    mine, params = ("", {}) if owner is None else (" AND owner = :owner", {"owner": owner})
    row = tx.one(
        f"SELECT * FROM schedules WHERE schedule_id = :id AND deleted = false{mine}{lock}",
        id=schedule_id,
        **params,
    )
    if row is None:
        raise NotFoundError(f"there is no schedule {schedule_id}")
    return schedule_from(row)


def latest(tx: Tx, owner: str | None, schedule_id: str) -> Schedule:
    """Return the schedule of that id or, when it is deleted, the last one there was.

    Raises:
        NotFoundError: this owner never had one.
    """
    mine, params = ("", {}) if owner is None else (" AND owner = :owner", {"owner": owner})
    row = tx.one(
        f"SELECT * FROM schedules WHERE schedule_id = :id{mine}"
        " ORDER BY deleted, updated_at DESC LIMIT 1",
        id=schedule_id,
        **params,
    )
    if row is None:
        raise NotFoundError(f"there is no schedule {schedule_id}")
    return schedule_from(row)


def by_uid(tx: Tx, uid: str) -> Schedule | None:
    """Return a schedule as the engine knows it, deleted ones too."""
    row = tx.one("SELECT * FROM schedules WHERE uid = :uid", uid=uid)
    return schedule_from(row) if row else None


def every(tx: Tx) -> list[Schedule]:
    """Return all schedules that the engine may know, deleted ones too."""
    sql = (
        "SELECT * FROM schedules WHERE deleted = false OR applied_revision <> revision"
        " ORDER BY created_at"
    )
    return [schedule_from(row) for row in tx.all(sql)]


def page_of(tx: Tx, owner: str | None, page: Page) -> tuple[Sequence[Schedule], str | None]:
    """Return schedules, newest first, and the cursor of the next page or None.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    conditions: dict[str, object] = {"owner": owner, "deleted": False}
    rows, cursor = newest_first(tx, "schedules", conditions, page, "schedule_id")
    return [schedule_from(row) for row in rows], cursor


def change(tx: Tx, owner: str | None, schedule_id: str, to: ScheduleChanges, now: int) -> Schedule:
    """Change a schedule and return it as the next revision.

    Raises:
        NotFoundError: no such schedule for this owner.
    """
    found = get(tx, owner, schedule_id, tx.lock)
    tx.run(
        "UPDATE schedules SET run = coalesce(:run, run), ask = coalesce(:ask, ask),"
        " spec = coalesce(:spec, spec), policy = coalesce(:policy, policy), paused = :paused,"
        " note = coalesce(:note, note), revision = revision + 1, updated_at = :now"
        " WHERE uid = :uid",
        uid=found.uid,
        run=to.run,
        ask=to.ask,
        spec=to.spec.model_dump_json() if to.spec else None,
        policy=to.policy.model_dump_json() if to.policy else None,
        paused=found.paused if to.paused is None else to.paused,
        note=to.note,
        now=now,
    )
    return get(tx, owner, schedule_id)


def pause(tx: Tx, uid: str, revision: int, note: str, now: int) -> bool:
    """Pause a schedule unless it is paused or has changed since; return whether it was."""
    return bool(
        tx.run(
            "UPDATE schedules SET paused = true, note = :note, revision = revision + 1,"
            " updated_at = :now WHERE uid = :uid AND revision = :revision AND paused = false"
            " AND deleted = false",
            uid=uid,
            revision=revision,
            note=note,
            now=now,
        )
    )


def undo(tx: Tx, made: Schedule, before: Schedule | None) -> bool:
    """Take a change back, unless it has changed since."""
    unchanged = "WHERE uid = :uid AND revision = :made AND deleted = false"
    at = {"uid": made.uid, "made": made.revision}
    if before is None:
        return bool(tx.run(f"DELETE FROM schedules {unchanged}", **at))
    return bool(
        tx.run(
            "UPDATE schedules SET run = :run, ask = :ask, spec = :spec, policy = :policy,"
            " paused = :paused, note = :note, revision = :revision, updated_at = :updated_at"
            f" {unchanged}",
            run=before.run,
            ask=before.ask,
            spec=before.spec.model_dump_json(),
            policy=before.policy.model_dump_json(),
            paused=before.paused,
            note=before.note,
            revision=before.revision,
            updated_at=before.updated_at,
            **at,
        )
    )


def delete(tx: Tx, owner: str | None, schedule_id: str, now: int) -> Schedule:
    """Mark a schedule as gone; the engine is told after the commit.

    Raises:
        NotFoundError: no such schedule for this owner.
    """
    found = get(tx, owner, schedule_id, tx.lock)
    tx.run(
        "UPDATE schedules SET deleted = true, revision = revision + 1, updated_at = :now"
        " WHERE uid = :uid",
        uid=found.uid,
        now=now,
    )
    return found


def applied(tx: Tx, uid: str, revision: int) -> bool:
    """Note which revision the engine was told; False when there is a newer one."""
    sql = "UPDATE schedules SET applied_revision = :revision WHERE uid = :uid"
    tx.run(sql, uid=uid, revision=revision)
    row = tx.one("SELECT revision FROM schedules WHERE uid = :uid", uid=uid)
    return row is None or row["revision"] == revision


def forget(tx: Tx, uid: str, now: int) -> None:
    """Note that the engine no longer knows a schedule that was marked as gone.

    What was asked goes; which firings were its stays readable. One that was made a moment ago is
    kept to be removed once more: in Temporal (1.31) it may come back, since its first
    continue-as-new can overtake a deletion of the same moment.
    """
    tx.run(
        "UPDATE schedules SET applied_revision = revision, run = '{}', ask = '{}', note = ''"
        " WHERE uid = :uid AND deleted = true AND created_at <= :settled",
        uid=uid,
        settled=now - _SETTLING_MS,
    )


def claim_trigger(tx: Tx, owner: str, key: IdempotencyKey, now: int) -> Trigger:
    """Return what was asked for with a key: the first time it is now.

    Raises:
        IdempotencyKeyConflictError: the key was used for something else.
    """
    known = keys.claim(tx, owner, key, str(now), now)
    at, _, state = (known or str(now)).partition(" ")
    return Trigger(int(at), is_done=state == _DONE)


def triggered(tx: Tx, owner: str, key: IdempotencyKey, now: int) -> None:
    """Note that the engine was told of what was asked for with a key."""
    at = claim_trigger(tx, owner, key, now).at
    keys.change(tx, owner, key, f"{at} {_DONE}")


def schedule_from(row: Row) -> Schedule:
    """Return a row of `schedules` as a value."""
    typed = {
        "spec": ScheduleSpec.from_store(row["spec"]),
        "policy": SchedulePolicy.model_validate_json(row["policy"]),
        "paused": bool(row["paused"]),
        "deleted": bool(row["deleted"]),
    }
    plain = {name: row[name] for name in Schedule.model_fields if name not in typed}
    return Schedule.model_validate(plain | typed)
