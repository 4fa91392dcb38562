"""Showing and clearing a transcript; messages that wait for their place come last."""

from collections.abc import Sequence

from adapters.store.database.pages import decode_cursor, encode_cursor
from adapters.store.database.rows import message_from
from adapters.store.database.tx import Row, Tx
from adapters.store.sessions.sessions import find_idle_session, find_session
from domain.acceptance import Page
from domain.errors import InvalidRequestError
from domain.session import Message

_BY_SESSION = " WHERE owner = :owner AND session_id = :session_id"
_PLACED, _WAITING = "placed", "waiting"


def list_messages(
    tx: Tx, owner: str | None, session_id: str, page: Page, *, newest_first: bool = False
) -> tuple[Sequence[Message], str | None]:
    """Return a page of a transcript, in order or the other way round, and the next cursor.

    Raises:
        NotFoundError: no such session for this owner.
        InvalidRequestError: the cursor is malformed.
    """
    session = find_session(tx, owner, session_id)
    part, at, message_id = _start(page.cursor, newest_first)
    parts = [_WAITING, _PLACED] if newest_first else [_PLACED, _WAITING]
    rows: list[Row] = []
    for name in parts[parts.index(part) :]:
        after = (at, message_id) if name == part and message_id is not None else None
        rows += _read_part(tx, session, name, after, page.limit + 1 - len(rows), newest_first)
    shown = [message_from(row) for row in rows[: page.limit]]
    return shown, _cursor(rows[page.limit - 1]) if len(rows) > page.limit else None


def _start(cursor: str | None, newest_first: bool) -> tuple[str, int, str | None]:
    key = decode_cursor(cursor, str, int, str)
    if key is None:
        return (_WAITING if newest_first else _PLACED), 0, None
    part, at, message_id = str(key[0]), int(str(key[1])), str(key[2])
    if part not in (_PLACED, _WAITING):
        raise InvalidRequestError("the cursor is not one of this list; leave it out to start again")
    return part, at, message_id


def _cursor(row: Row) -> str:
    if row["seq"] is None:
        return encode_cursor([_WAITING, row["created_at"], row["message_id"]])
    return encode_cursor([_PLACED, row["seq"], row["message_id"]])


def _read_part(
    tx: Tx, session: Row, part: str, after: tuple[int, str] | None, most: int, newest_first: bool
) -> Sequence[Row]:
    place, has = ("seq", "IS NOT NULL") if part == _PLACED else ("created_at", "IS NULL")
    sign, direction = ("<", " DESC") if newest_first else (">", "")
    params: dict[str, object] = {"owner": session["owner"], "session_id": session["session_id"]}
    only = ""
    if after is not None:
        only = f" AND ({place}, message_id) {sign} (:at, :message_id)"
        params |= {"at": after[0], "message_id": after[1]}
    return tx.all(
        f"SELECT * FROM messages{_BY_SESSION} AND seq {has}{only}"
        f" ORDER BY {place}{direction}, message_id{direction} LIMIT :most",
        **params,
        most=most,
    )


def clear_messages(tx: Tx, owner: str | None, session_id: str) -> int:
    """Empty a transcript and return how many messages went; places are not given out again.

    Raises:
        NotFoundError: no such session for this owner.
        SessionBusyError: a run holds it or waits for it.
    """
    key = find_idle_session(tx, owner, session_id)
    gone = tx.run(f"DELETE FROM messages{_BY_SESSION}", **key)
    tx.run(f"UPDATE sessions SET message_count = 0, token_count = 0{_BY_SESSION}", **key)
    return gone
