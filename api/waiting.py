"""Waiting for something to happen in a run, on behalf of a caller that stays on the line."""

import asyncio
from collections.abc import Collection
from contextlib import aclosing

from api.services import Services
from api.tail import Tail


async def follow(desk: Services, tail: Tail, seconds: float, until: Collection[str]) -> None:
    """Wait for an event of one of the types `until`, or the run's end, and close `tail`.

    Returns after `seconds`, the longest wait that is configured, or a shutdown all the same.
    """
    waiting = {
        asyncio.ensure_future(_read(tail, until)),
        asyncio.ensure_future(desk.keeper.stopping.wait()),
    }
    most = min(seconds, desk.config.max_wait_seconds)
    try:
        await asyncio.wait(waiting, timeout=most, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def _read(tail: Tail, until: Collection[str]) -> None:
    async with aclosing(tail.batches()) as batches:
        async for batch in batches:
            if any(event.type in until for event in batch):
                return
