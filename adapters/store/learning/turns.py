"""The last turns of a session, as a choice of its next agent looks at them."""

from adapters.store.database.tx import Tx
from domain.learning.books import RECENT_MESSAGES, Turns

_CHARS = 2000
"""Of each message that are read: a likeness needs no more."""
_LAST = (
    f"SELECT run_id, agent_id, untrusted, substr(content, 1, {_CHARS}) AS words FROM messages"
    " WHERE owner = :owner AND session_id = :session_id AND seq IS NOT NULL"
    " AND role IN ('user', 'assistant') AND content <> '' ORDER BY seq DESC LIMIT :most"
)
_RATING = (
    "SELECT score FROM feedback WHERE run_id = :run_id ORDER BY created_at DESC, feedback_id DESC"
    " LIMIT 1"
)


def turns(tx: Tx, owner: str, session_id: str) -> Turns:
    """Return the last turns of a session; nothing of one that is not there."""
    rows = tx.all(_LAST, owner=owner, session_id=session_id, most=RECENT_MESSAGES)
    if not rows:
        return Turns()
    last = rows[0]
    rating = tx.one(_RATING, run_id=last["run_id"])
    return Turns(
        # What strangers wrote has no say in who does the next request.
        recent=tuple(row["words"] for row in reversed(rows) if not row["untrusted"]),
        agent_id=last["agent_id"],
        is_disliked=rating is not None and rating["score"] < 0,
    )
