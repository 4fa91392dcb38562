"""The answer that a cancel cut: what had been streamed is kept, and marked as not whole."""

import json

from adapters.store.approvals.taint import is_external
from adapters.store.database.tx import Row, Tx
from adapters.store.sessions import transcript
from domain.session import estimate_tokens
from domain.step import NewMessage


def partial_text(tx: Tx, run: Row) -> str | None:
    """Return the text that the last attempt streamed before it was cut, if it was."""
    step = tx.one(
        "SELECT step_id, attempt FROM steps WHERE run_id = :id AND state <> 'closed'"
        " AND has_deltas = true ORDER BY opened_at DESC LIMIT 1",
        id=run["run_id"],
    )
    if step is None:
        return None
    rows = tx.all(
        "SELECT envelope FROM events WHERE run_id = :id AND type = 'agent_stream_delta'"
        " ORDER BY seq",
        id=run["run_id"],
    )
    pieces = [json.loads(row["envelope"])["data"] for row in rows]
    name = (step["step_id"], step["attempt"])
    return "".join(p["text"] for p in pieces if (p["step"], p["attempt"]) == name)


def keep_partial(tx: Tx, run: Row, text: str | None, now: int) -> None:
    """Put a cut answer into the transcript; a queued run that never spoke has none."""
    if not text or run["session_id"] is None:
        return
    message_id = f"msg_{run['run_id'].removeprefix('run_')}p"
    message = NewMessage(message_id, "assistant", text, tokens=estimate_tokens(text))
    transcript.extend(tx, run, (message,), now, untrusted=is_external(run))
    tx.run("UPDATE messages SET partial = true WHERE message_id = :id", id=message_id)


def partial_on_record(tx: Tx, run_id: str) -> str | None:
    """Return what a cancelled run had said until then, as its log tells it."""
    row = tx.one(
        "SELECT envelope FROM events WHERE run_id = :id AND type = 'run_cancelled'", id=run_id
    )
    found: str | None = json.loads(row["envelope"])["data"].get("partial") if row else None
    return found
