"""A run's events as frames: replay, then tail, in few large chunks."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Sequence
from contextlib import aclosing

from domain.acceptance import Accepted, NewRun
from domain.event import TERMINAL_EVENTS, StoredEvent, sse_frames
from domain.records import EventLog
from domain.run import Run

_CHUNK_CHARS = 64 * 1024
"""Events are sent together up to about this much text: it bounds what a stuck reader costs us."""

_FRAME_END = b"\n\n"

Batch = Sequence[StoredEvent]


class Tail:
    """A run's events later than `after_seq`. It is subscribed as soon as it is made.

    So a reader can be there before the run exists. One that is ahead of the log, which was restored
    from an older backup, gets nothing twice; the log is followed from its `last_seq`, so that the
    end is noticed wherever it comes.
    """

    def __init__(
        self, log: EventLog, run_id: str, after_seq: int, last_seq: int | None = None
    ) -> None:
        self.after_seq = after_seq
        start = after_seq if last_seq is None else min(after_seq, last_seq)
        self._batches = log.follow(run_id, start)
        self._first: asyncio.Future[Batch | None] = asyncio.ensure_future(
            anext(self._batches, None)
        )

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Yield the events in order, as they are committed, up to the terminal one."""
        try:
            batch = await self._first
            while batch is not None:
                if batch[0].seq > self.after_seq:
                    yield batch
                elif batch[-1].seq > self.after_seq:
                    yield [event for event in batch if event.seq > self.after_seq]
                batch = await anext(self._batches, None)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """Stop following."""
        if not self._first.done():
            self._first.cancel()
            await asyncio.wait({self._first})
        if not self._first.cancelled():
            self._first.exception()
        closer = getattr(self._batches, "aclose", None)
        if closer is not None:
            await closer()


class EarlyTail:
    """A reader of a run's events that is in place before the run exists."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._tail: Tail | None = None
        self._run_id = ""

    def subscribe(self, new: NewRun) -> None:
        """Begin to read what is about to be accepted."""
        self._tail, self._run_id = Tail(self._log, new.run_id, 0), new.run_id

    async def settle(self, accepted: Accepted) -> Tail:
        """Return the reader of the run on record, which an earlier request may have made."""
        if self._tail is not None and accepted.run.run_id == self._run_id:
            return self._tail
        await self.drop()
        # A message that steers a run is answered from there on.
        after = (accepted.steered_seq or 1) - 1
        return Tail(self._log, accepted.run.run_id, after)

    async def drop(self) -> None:
        """Stop reading: nothing was accepted."""
        if self._tail is not None:
            await self._tail.aclose()


async def frames(
    tail: Tail, types: Collection[str] | None, on_batch: Callable[[StoredEvent], None]
) -> AsyncGenerator[bytes, None]:
    """Yield the events' frames in chunks. A filter by type never hides the terminal event.

    `on_batch` is told the last event of each batch, after it was sent.
    """
    async with aclosing(tail.batches()) as batches:
        async for batch in batches:
            for chunk in _chunks(batch, types):
                yield chunk
            on_batch(batch[-1])


async def replay_and_follow(
    log: EventLog,
    run: Run,
    start: int,
    types: Collection[str] | None,
    on_batch: Callable[[StoredEvent], None],
) -> AsyncGenerator[bytes, None]:
    """Yield a run's frames later than `start`: what was on record with `run`, then what comes."""
    shown = None if types is None else sorted({*types, *TERMINAL_EVENTS})
    async with aclosing(log.replay(run.run_id, start, run.last_seq, shown)) as past:
        async for page in past:
            for piece in _pieces(page):
                yield piece
    if run.is_terminal:
        return
    tail = Tail(log, run.run_id, max(start, run.last_seq), run.last_seq)
    async with aclosing(frames(tail, types, on_batch)) as coming:
        async for chunk in coming:
            yield chunk


def _pieces(page: bytes) -> Iterator[bytes]:
    """Cut a page where frames end. Within a frame no line is empty."""
    start = 0
    while len(page) - start > _CHUNK_CHARS:
        last = page.rfind(_FRAME_END, start, start + _CHUNK_CHARS)
        end = (last if last >= 0 else page.index(_FRAME_END, start)) + len(_FRAME_END)
        yield page[start:end]
        start = end
    if start < len(page):
        yield page[start:]


def _chunks(batch: Batch, types: Collection[str] | None) -> Iterator[bytes]:
    if types is not None:
        batch = [event for event in batch if event.type in types or event.is_terminal]
    start = size = 0
    for place, event in enumerate(batch, start=1):
        size += len(event.envelope)
        if size >= _CHUNK_CHARS:
            yield sse_frames(batch[start:place])
            start, size = place, 0
    if start < len(batch):
        yield sse_frames(batch[start:])
