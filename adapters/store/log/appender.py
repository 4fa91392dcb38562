"""The event log's one way in: `seq` comes from the run's row, inside the caller's transaction."""

from collections.abc import Sequence

from adapters.store.database.tx import Row, Tx
from domain.event import EventDraft, Lineage, StoredEvent, envelope

_INSERT = (
    "INSERT INTO events (run_id, seq, event_key, ts, type, envelope)"
    " VALUES (:run_id, :seq, :key, :ts, :type, :envelope)"
    " ON CONFLICT (run_id, event_key) DO NOTHING"
)


def append(tx: Tx, run: Row, drafts: Sequence[EventDraft], now: int, after: int) -> int:
    """Append `drafts` after `after` and return the run's new last `seq`.

    The caller has locked the run's row and writes the returned number back to it. A draft whose key
    is in the log already is skipped: a repeated append changes nothing.
    """
    run_id = run["run_id"]
    lineage = Lineage(
        root_run_id=run["root_run_id"], parent_run_id=run["parent_run_id"], depth=run["depth"]
    )
    seq = after
    for draft in drafts:
        place, kind = seq + 1, draft.type.value
        text = envelope(run_id, place, now, draft, lineage)
        if tx.run(
            _INSERT, run_id=run_id, seq=place, key=draft.key, ts=now, type=kind, envelope=text
        ):
            seq = place
            tx.committed.append(StoredEvent(run_id, seq, kind, text))
    return seq
