"""Stopping runs: once the store says so, every run of a tree is told at once. Knows ports only."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Protocol

from domain.family import Unstarted
from domain.ports import RunGateway
from domain.step import Finished


class StopBook(Protocol):
    """What is on record of runs that are to stop."""

    async def to_stop(self, run_id: str) -> Sequence[Unstarted]:
        """Return the runs below a run that were asked to stop and have not ended, top down."""
        ...


class Stopping:
    """Tells the engine which runs are to stop. Every call is safe to repeat."""

    def __init__(self, book: StopBook, gateway: RunGateway) -> None:
        self._book = book
        self._gateway = gateway

    async def tell(self, run_id: str, finished: Finished) -> None:
        """Tell everybody whom the end of a run concerns.

        Raises:
            EngineUnavailableError: some could not be told; the reconciler will.
        """
        waiting = {finished.woken_run_id, finished.parent_run_id} - {None}
        calls: list[Awaitable[None]] = [self._gateway.wake(one) for one in waiting if one]
        if finished.stops_below:
            calls.append(self.stop_tree(run_id, itself=False))
        await _all(calls)

    async def stop_tree(self, run_id: str, *, itself: bool = True) -> None:
        """Tell a run, unless it has ended, and all that were asked to stop below it.

        Raises:
            EngineUnavailableError: some could not be told; the reconciler will.
        """
        first = [self._gateway.cancel(run_id)] if itself else []
        await _all([*first, self._stop_below(run_id)])

    async def _stop_below(self, run_id: str) -> None:
        await _all([self._stop(one) for one in await self._book.to_stop(run_id)])

    async def _stop(self, one: Unstarted) -> None:
        if one.run.started_at is None:
            # Its parent may never come to start it; a run that nobody starts cannot end itself.
            await self._gateway.start(one.run, one.spec, queued=one.queued)
        await self._gateway.cancel(one.run.run_id)


async def _all(calls: Sequence[Awaitable[None]]) -> None:
    """Make every call, whatever becomes of the others; raise the first failure."""
    for told in await asyncio.gather(*calls, return_exceptions=True):
        if told is not None:
            raise told
