"""Sessions as rows: who holds one and who waits, and its transcript page by page."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from adapters.store.database.pages import newest_first, where
from adapters.store.database.tx import Row, Tx
from adapters.store.runs import keys
from domain.acceptance import IdempotencyKey, Page
from domain.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    SessionBusyError,
)
from domain.event import encode_json
from domain.session import OnBusy, Session

_CHANGEABLE = frozenset({"agent_id", "on_busy", "metadata"})
_BY_KEY = " WHERE owner = :owner AND session_id = :session_id"
_WAITS = "queue_seq IS NOT NULL AND state IN ('CREATED', 'RUNNING')"


def create_session(
    tx: Tx, session: Session, key: IdempotencyKey | None = None
) -> tuple[Session, bool]:
    """Make a session, or return the one that the same key made before, and whether it did.

    Raises:
        ConflictError: the id is taken.
        IdempotencyKeyConflictError: the key was used with another body.
        NotFoundError: the session that the key made is gone.
    """
    if key is not None:
        made = keys.claim(tx, session.owner, key, session.session_id, session.created_at)
        if made is not None:
            return get_session(tx, session.owner, made), True
    return _inserted(tx, session), False


def _inserted(tx: Tx, session: Session) -> Session:
    row = tx.one(
        "INSERT INTO sessions (owner, session_id, agent_id, on_busy, metadata, created_at) VALUES"
        " (:owner, :session_id, :agent_id, :on_busy, :metadata, :created_at)"
        " ON CONFLICT (owner, session_id) DO NOTHING RETURNING *",
        owner=session.owner,
        session_id=session.session_id,
        agent_id=session.agent_id,
        on_busy=session.on_busy.value,
        metadata=encode_json(session.metadata),
        created_at=session.created_at,
    )
    if row is None:
        raise ConflictError(f"there is a session {session.session_id}; take another id")
    return _session_from(row, ())


def get_session(tx: Tx, owner: str | None, session_id: str) -> Session:
    """Return one session with its holder and queue.

    Raises:
        NotFoundError: no such session for this owner.
    """
    row = find_session(tx, owner, session_id)
    return _session_from(row, _queue(tx, row))


def find_session(tx: Tx, owner: str | None, session_id: str, *, lock: bool = False) -> Row:
    """Return a session's row; for owner None the oldest of that id.

    Raises:
        NotFoundError: no such session for this owner.
    """
    clause, params = where({"owner": owner, "session_id": session_id})
    row = tx.one(
        f"SELECT * FROM sessions{clause} ORDER BY created_at LIMIT 1{tx.lock if lock else ''}",
        **params,
    )
    if row is None:
        raise NotFoundError(f"there is no session {session_id}")
    return row


def find_idle_session(tx: Tx, owner: str | None, session_id: str) -> dict[str, str]:
    """Return the key of a session that no run holds or waits for, locked.

    Raises:
        NotFoundError: no such session for this owner.
        SessionBusyError: a run holds it or waits for it.
    """
    row = find_session(tx, owner, session_id, lock=True)
    busy = row["active_run_id"] or next(iter(_queue(tx, row)), None) or _later(tx, row)
    if busy is not None:
        raise SessionBusyError(f"run {busy} needs session {session_id}; wait for it or cancel it")
    return {"owner": row["owner"], "session_id": session_id}


def list_sessions(tx: Tx, owner: str | None, page: Page) -> tuple[Sequence[Session], str | None]:
    """Return sessions, newest first, and the cursor of the next page or None.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    rows, cursor = newest_first(tx, "sessions", {"owner": owner}, page, "session_id", "owner")
    # Open runs are bounded by the admission cap, so all queues are read at once.
    clause, params = where({"owner": owner})
    waiting = tx.all(
        f"SELECT owner, session_id, run_id FROM runs{clause}{' AND' if clause else ' WHERE'}"
        f" {_WAITS} ORDER BY queue_seq",
        **params,
    )
    queues = defaultdict[tuple[str, str], list[str]](list)
    for run in waiting:
        queues[run["owner"], run["session_id"]].append(run["run_id"])
    shown = [_session_from(row, queues[row["owner"], row["session_id"]]) for row in rows]
    return shown, cursor


def update_session(tx: Tx, owner: str | None, session_id: str, changes: dict[str, Any]) -> Session:
    """Change `agent_id`, `on_busy` or `metadata` and return the session.

    Raises:
        NotFoundError: no such session for this owner.
        InvalidRequestError: a change of something else.
    """
    if not changes.keys() <= _CHANGEABLE:
        names = ", ".join(sorted(changes.keys() - _CHANGEABLE))
        raise InvalidRequestError(f"{names} of a session cannot be changed")
    row = find_session(tx, owner, session_id, lock=True)
    values: dict[str, object] = dict(changes)
    if "metadata" in changes:
        values["metadata"] = encode_json(changes["metadata"])
    if "on_busy" in changes:
        values["on_busy"] = OnBusy(changes["on_busy"]).value
    if values:
        assignments = ", ".join(f"{name} = :{name}" for name in values)
        key = {"owner": row["owner"], "session_id": session_id}
        tx.run(f"UPDATE sessions SET {assignments}{_BY_KEY}", **values, **key)
    return get_session(tx, row["owner"], session_id)


def delete_session(tx: Tx, owner: str | None, session_id: str) -> None:
    """Remove a session and its transcript; its runs stay on record.

    Raises:
        NotFoundError: no such session for this owner.
        SessionBusyError: a run holds it or waits for it.
    """
    key = find_idle_session(tx, owner, session_id)
    tx.run(f"DELETE FROM messages{_BY_KEY}", **key)
    tx.run(f"DELETE FROM sessions{_BY_KEY}", **key)


def _queue(tx: Tx, session: Row) -> Sequence[str]:
    rows = tx.all(
        f"SELECT run_id FROM runs{_BY_KEY} AND {_WAITS} ORDER BY queue_seq",
        owner=session["owner"],
        session_id=session["session_id"],
    )
    return [row["run_id"] for row in rows if row["run_id"] != session["active_run_id"]]


def _later(tx: Tx, session: Row) -> str | None:
    """Return a run whose work in this session begins later."""
    row = tx.one(
        f"SELECT run_id FROM runs{_BY_KEY} AND start_at IS NOT NULL AND begun_at IS NULL"
        " AND state IN ('CREATED', 'RUNNING') LIMIT 1",
        owner=session["owner"],
        session_id=session["session_id"],
    )
    return row["run_id"] if row else None


def _session_from(row: Row, queue: Sequence[str]) -> Session:
    holder = row["active_run_id"]
    return Session(
        session_id=row["session_id"],
        owner=row["owner"],
        agent_id=row["agent_id"],
        on_busy=OnBusy(row["on_busy"]),
        message_count=row["message_count"],
        token_count=row["token_count"],
        active_run_id=holder,
        queued_run_ids=tuple(run_id for run_id in queue if run_id != holder),
        created_at=row["created_at"],
        metadata=json.loads(row["metadata"]),
    )
