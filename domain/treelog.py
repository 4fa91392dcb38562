"""The events of a whole tree of runs in one order, and the cursor that says how far one has read.

Each run's events keep their order; a child's come after the `agent_spawned` that made it, and what
a parent reads of its child after the child's end; for the rest their times decide. Pure.
"""

import base64
import binascii
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from domain.errors import InvalidRequestError
from domain.event import EventType, StoredEvent, sse_frames

_KEY_BYTES = 6
_SEQ_BYTES = 4
_ENTRY = _KEY_BYTES + _SEQ_BYTES
MAX_CURSOR_CHARS = 20_000
"""As much as a header may hold: about 1,500 runs."""

Seen = Mapping[str, int]
"""The last `seq` that was read, by `place_of` a run."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """The next events of one run. `is_cut` says that more of them are on record."""

    run_id: str
    parent_run_id: str | None
    depth: int
    events: Sequence[StoredEvent]
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class TreePage:
    """Events in order. `is_over` says that no run of the tree will have any more."""

    events: Sequence[StoredEvent]
    is_over: bool


class TreeLog(Protocol):
    """The logs of a run and all below it, as one."""

    async def read_tree(self, run_id: str, seen: Seen) -> TreePage:
        """Return what comes next after `seen`; nothing when all is read that is on record."""
        ...

    def follow_tree(self, run_id: str, seen: Seen) -> AsyncIterator[Sequence[StoredEvent]]:
        """Yield what comes after `seen` as it is committed, until every run has ended."""
        ...


def place_of(run_id: str) -> str:
    """Return the short name of a run in a cursor."""
    return sha256(run_id.encode()).digest()[:_KEY_BYTES].hex()


def advance(seen: dict[str, int], event: StoredEvent) -> None:
    """Note that an event was read."""
    seen[place_of(event.run_id)] = event.seq


def encode_seen(seen: Seen) -> str:
    """Return the cursor: opaque to whoever holds it."""
    packed = b"".join(
        bytes.fromhex(place) + seq.to_bytes(_SEQ_BYTES) for place, seq in seen.items()
    )
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_seen(cursor: str | None) -> dict[str, int]:
    """Return what a cursor says was read.

    Raises:
        InvalidRequestError: no stream of a tree ever gave out such a cursor.
    """
    if not cursor:
        return {}
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        packed = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        packed = b"?"
    if len(packed) % _ENTRY or len(cursor) > MAX_CURSOR_CHARS:
        raise InvalidRequestError("the cursor is not one of this tree; leave it out to begin again")
    entries = (packed[at : at + _ENTRY] for at in range(0, len(packed), _ENTRY))
    return {one[:_KEY_BYTES].hex(): int.from_bytes(one[_KEY_BYTES:]) for one in entries}


def tree_frame(event: StoredEvent, seen: Seen) -> bytes:
    """Return an event as one server-sent event whose `id` is the cursor after it."""
    _, _, rest = sse_frames((event,)).partition(b"\n")
    return f"id: {encode_seen(seen)}\n".encode() + rest


def merge(shelves: Sequence[Shelf]) -> list[StoredEvent]:
    """Return the events of several runs in one order, as far as it is certain.

    Where a run has more events than its shelf holds, whatever could come after them waits.
    """
    return _Merge(shelves).events()


class _Merge:
    def __init__(self, shelves: Sequence[Shelf]) -> None:
        self._shelves = {shelf.run_id: shelf for shelf in shelves}
        self._at = dict.fromkeys(self._shelves, 0)
        self._unborn = {
            child for shelf in shelves for event in shelf.events for child in _children(event)
        } & self._shelves.keys()
        # What made a run may stand in the part of its parent's log that is not here yet.
        self._unborn |= {s.run_id for s in shelves if self._is_new(s) and self._is_cut(s)}

    @staticmethod
    def _is_new(shelf: Shelf) -> bool:
        return bool(shelf.events) and shelf.events[0].seq == 1

    def _is_cut(self, shelf: Shelf) -> bool:
        parent = self._shelves.get(shelf.parent_run_id or "")
        return parent is not None and parent.is_cut

    def events(self) -> list[StoredEvent]:
        merged: list[StoredEvent] = []
        while True:
            ready = [shelf for shelf in self._shelves.values() if self._is_ready(shelf)]
            if not ready:
                return merged
            chosen = min(ready, key=self._rank)
            event = chosen.events[self._at[chosen.run_id]]
            self._at[chosen.run_id] += 1
            merged.append(event)
            self._unborn.difference_update(_children(event))
            if self._at[chosen.run_id] == len(chosen.events) and chosen.is_cut:
                return merged

    def _is_ready(self, shelf: Shelf) -> bool:
        is_left = self._at[shelf.run_id] < len(shelf.events)
        return is_left and shelf.run_id not in self._unborn

    def _rank(self, shelf: Shelf) -> tuple[int, int, str]:
        # In the same moment the deeper run first: its end is what the one above goes on with.
        return (time_of(shelf.events[self._at[shelf.run_id]]), -shelf.depth, shelf.run_id)


def _children(event: StoredEvent) -> tuple[str, ...]:
    if event.type != EventType.AGENT_SPAWNED:
        return ()
    return (json.loads(event.envelope)["data"]["child_run_id"],)


def time_of(event: StoredEvent) -> int:
    """Return the event's `ts` in milliseconds, read off the envelope without parsing it whole."""
    _, _, rest = event.envelope.partition('"ts":')
    return int(rest[: rest.index(",")])
