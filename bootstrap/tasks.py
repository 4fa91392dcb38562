"""Ending what runs in the background."""

import asyncio
from collections.abc import Iterable

_AGAIN_SECONDS = 0.5


async def end_all(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel tasks until every one has ended, and keep what they raised to themselves.

    Once is not enough: a library below a task may take the cancel for its own.
    """
    ending = list(tasks)
    pending = set(ending)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*ending, return_exceptions=True)
