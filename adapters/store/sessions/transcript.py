"""Messages in order: a place in the transcript is given inside the transaction that earns it."""

import json
from collections.abc import Sequence

from adapters.store.database.rows import chat_message_from
from adapters.store.database.tx import Row, Tx
from domain.bounds import MESSAGE_TOKENS
from domain.chat import ChatMessage
from domain.event import encode_json
from domain.step import NewMessage

INLINE_MESSAGES = 60
"""A transcript up to this long is read in the opening transaction; a longer one beside it, so that
it does not hold up other writers."""

_INSERT = (
    "INSERT INTO messages (message_id, owner, session_id, run_id, seq, role, content, tool_calls,"
    " tool_call_id, agent_id, tokens, arrival, untrusted, created_at) VALUES (:message_id, :owner,"
    " :session_id, :run_id, :seq, :role, :content, :tool_calls, :tool_call_id, :agent_id, :tokens,"
    " :arrival, :untrusted, :now)"
)
_TAKE_PLACE = (
    "UPDATE sessions SET message_count = message_count + 1, token_count = token_count + :tokens,"
    " last_message_seq = last_message_seq + 1 WHERE owner = :owner AND session_id = :session_id"
    " RETURNING last_message_seq"
)


def take_place(tx: Tx, owner: str, session_id: str, tokens: int) -> int:
    """Return the next `seq` of a session's transcript, counted from 1."""
    row = tx.one(_TAKE_PLACE, owner=owner, session_id=session_id, tokens=tokens)
    if row is None:
        raise LookupError(f"session {session_id} has no row")
    return int(row["last_message_seq"])


def add_message(
    tx: Tx, run: Row, message: NewMessage, seq: int | None, now: int, *, untrusted: bool = False
) -> None:
    """Insert one message of `run`, in place `seq` or waiting for one.

    `untrusted` says that strangers may have written it.
    """
    calls = [call.model_dump() for call in message.tool_calls]
    tx.run(
        _INSERT,
        message_id=message.message_id,
        owner=run["owner"],
        session_id=run["session_id"],
        run_id=run["run_id"],
        seq=seq,
        role=message.role,
        content=message.content,
        tool_calls=encode_json(calls) if calls else None,
        tool_call_id=message.tool_call_id,
        agent_id=run["agent_id"],
        tokens=message.tokens,
        arrival=message.arrival,
        untrusted=untrusted,
        now=now,
    )


def extend(
    tx: Tx, run: Row, messages: Sequence[NewMessage], now: int, *, untrusted: bool = False
) -> None:
    """Append `messages` to the transcript of the session that `run` holds."""
    if run["session_id"] is None:
        return
    for message in messages:
        seq = take_place(tx, run["owner"], run["session_id"], message.tokens)
        add_message(tx, run, message, seq, now, untrusted=untrusted)


def place_messages(tx: Tx, run: Row) -> None:
    """Give what a run was asked its place in the transcript: the session is the run's now."""
    waiting = tx.all(
        "SELECT message_id, tokens FROM messages WHERE run_id = :id AND seq IS NULL",
        id=run["run_id"],
    )
    for message in waiting:
        tx.run(
            "UPDATE messages SET seq = :seq WHERE message_id = :id",
            seq=take_place(tx, run["owner"], run["session_id"], message["tokens"]),
            id=message["message_id"],
        )


def edit_call(tx: Tx, run: Row, tool_call_id: str, args: str) -> None:
    """Make the transcript show the arguments that really run: the result belongs to them."""
    rows = tx.all(
        "SELECT message_id, tool_calls FROM messages WHERE run_id = :run AND role = 'assistant'"
        " AND tool_calls IS NOT NULL",
        run=run["run_id"],
    )
    for row in rows:
        calls = json.loads(row["tool_calls"])
        mine = [call for call in calls if call["call_id"] == tool_call_id]
        for call in mine:
            call["arguments"] = args
        if mine:
            tx.run(
                "UPDATE messages SET tool_calls = :calls WHERE message_id = :id",
                calls=encode_json(calls),
                id=row["message_id"],
            )


def read_transcript(tx: Tx, owner: str, session_id: str) -> tuple[ChatMessage, ...]:
    """Return the whole conversation, in order."""
    rows = tx.all(
        "SELECT role, content, tool_calls, tool_call_id, partial FROM messages WHERE owner = :owner"
        " AND session_id = :session_id AND seq IS NOT NULL ORDER BY seq",
        owner=owner,
        session_id=session_id,
    )
    return tuple(chat_message_from(row) for row in rows)


def bytes_of_session(tx: Tx, owner: str, session_id: str | None) -> int:
    """Return an upper bound of the tokens of a conversation, without reading it."""
    content = tx.octets.format("content")
    calls = tx.octets.format("coalesce(tool_calls, '')")
    row = tx.one(
        f"SELECT count(*) AS n, sum({content} + {calls}) AS bytes FROM messages"
        " WHERE owner = :owner AND session_id = :session_id AND seq IS NOT NULL",
        owner=owner,
        session_id=session_id,
    )
    return MESSAGE_TOKENS * row["n"] + int(row["bytes"] or 0) if row else 0


def read_short_transcript(tx: Tx, run: Row) -> tuple[ChatMessage, ...] | None:
    """Return the conversation if it is short, else None: it is then read outside the writer."""
    if run["session_id"] is None:
        return ()
    session = tx.one(
        "SELECT message_count FROM sessions WHERE owner = :owner AND session_id = :session_id",
        owner=run["owner"],
        session_id=run["session_id"],
    )
    if session is None or session["message_count"] > INLINE_MESSAGES:
        return None
    return read_transcript(tx, run["owner"], run["session_id"])
