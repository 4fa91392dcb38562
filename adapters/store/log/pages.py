"""What is read of a run's log at once: events, or frames that the database puts together."""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from adapters.store.database.tx import Tx
from domain.event import SSE_FRAME, StoredEvent

_ID, _TYPE, _DATA, _END = SSE_FRAME
_SPAN = "run_id = :run_id AND seq > :after AND seq <= :last"
_BETWEEN = f"'{_END}{_ID}' || seq || '{_TYPE}' || type || '{_DATA}'"
"""The end of a frame and the head of the next one: so no frame is built for each event."""

PAGE_BYTES = 1 << 19
"""Most that the envelopes of a page of frames take, unless one alone takes more: a reader may be
slow, and another page waits behind the one that it takes."""


class FramePage(NamedTuple):
    """Whole frames of what stands in the next `rows` places, up to `last_seq`; may be none."""

    frames: bytes
    rows: int
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
    """Reads what a run's log holds up to `until_seq` as frames, of some types or of all."""

    run_id: str
    until_seq: int
    types: Sequence[str] | None = None

    def read(self, tx: Tx, after_seq: int, rows: int) -> FramePage:
        """Return the next events as one piece: `rows` of them, fewer where they are large."""
        last = self._fitting(tx, after_seq, min(after_seq + rows, self.until_seq))
        only, names = _only(self.types)
        found = f"FROM events WHERE {_SPAN}{only}"
        row = tx.one(
            f"SELECT {tx.joined.format('envelope', _BETWEEN, 'seq')} AS joined, min(seq) AS first,"
            f" (SELECT type {found} ORDER BY seq LIMIT 1) AS type {found}",
            **self._span(after_seq, last),
            **names,
        )
        assert row is not None, "a sum has one row"
        if row["joined"] is None:
            return FramePage(b"", last - after_seq, last)
        head = f"{_ID}{row['first']}{_TYPE}{row['type']}{_DATA}"
        frames = b"".join((head.encode(), row["joined"], _END.encode()))
        return FramePage(frames, last - after_seq, last)

    def _fitting(self, tx: Tx, after_seq: int, last: int) -> int:
        """Return how far a page may go: at least one event."""
        span, size = self._span(after_seq, last), tx.octets.format("envelope")
        whole = tx.one(f"SELECT sum({size}) AS size FROM events WHERE {_SPAN}", **span)
        if whole is None or (whole["size"] or 0) <= PAGE_BYTES:
            return last
        each = tx.tuples(f"SELECT seq, {size} FROM events WHERE {_SPAN} ORDER BY seq", **span)
        upto = accumulate(size for _, size in each)
        fitting = [seq for (seq, _), size in zip(each, upto, strict=True) if size <= PAGE_BYTES]
        return int(fitting[-1]) if fitting else after_seq + 1

    def _span(self, after_seq: int, last: int) -> dict[str, object]:
        return {"run_id": self.run_id, "after": after_seq, "last": last}


def _only(types: Sequence[str] | None) -> tuple[str, dict[str, str]]:
    if types is None:
        return "", {}
    if not types:
        return " AND 1 = 0", {}
    names = {f"type{place}": name for place, name in enumerate(types)}
    return f" AND type IN ({', '.join(f':{name}' for name in names)})", names
