"""What is read of a run's log at once: events, or frames that the database puts together."""

from collections.abc import Sequence
from typing import NamedTuple

from adapters.store.database.tx import Tx
from domain.event import SSE_FRAME, StoredEvent

_id, _type, _data, _end = (f"'{part}'" for part in SSE_FRAME)
_FRAME = f"{_id} || seq || {_type} || type || {_data} || envelope || {_end}"


class FramePage(NamedTuple):
    """Whole frames, and the `seq` of the last of them."""

    frames: bytes
    last_seq: int


def read_page(
    tx: Tx, run_id: str, after_seq: int, limit: int, types: Sequence[str] | None = None
) -> list[StoredEvent]:
    """Return up to `limit` events of a run after `after_seq`, in order."""
    only, names = _only(types)
    rows = tx.tuples(
        "SELECT run_id, seq, type, envelope FROM events WHERE run_id = :run_id AND seq > :after"
        f"{only} ORDER BY seq LIMIT :limit",
        run_id=run_id,
        after=after_seq,
        limit=limit,
        **names,
    )
    return list(map(StoredEvent._make, rows))


class FrameReader(NamedTuple):
    """Reads what a run's log holds up to `until_seq` as frames."""

    run_id: str
    until_seq: int
    types: Sequence[str] | None = None

    def read(self, tx: Tx, after_seq: int, limit: int) -> FramePage | None:
        """Return up to `limit` events after `after_seq` as one piece, or None: there are no more.

        Rows come in the order of the inner query; both databases join texts as they come.
        """
        only, names = _only(self.types)
        row = tx.one(
            f"SELECT max(seq) AS last, {tx.joined.format(_FRAME)} AS frames FROM ("
            "SELECT seq, type, envelope FROM events"
            f" WHERE run_id = :run_id AND seq > :after AND seq <= :until{only}"
            " ORDER BY seq LIMIT :limit) AS page",
            run_id=self.run_id,
            after=after_seq,
            until=self.until_seq,
            limit=limit,
            **names,
        )
        if row is None or row["last"] is None:
            return None
        return FramePage(row["frames"], row["last"])


def _only(types: Sequence[str] | None) -> tuple[str, dict[str, str]]:
    if types is None:
        return "", {}
    if not types:
        return " AND 1 = 0", {}
    names = {f"type{place}": name for place, name in enumerate(types)}
    return f" AND type IN ({', '.join(f':{name}' for name in names)})", names
