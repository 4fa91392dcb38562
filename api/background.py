"""Work that goes on behind an answer, held until it ended."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from domain.handover import HandOver

_LOG = logging.getLogger(__name__)


class Background:
    """Tasks nobody waits for; a failure is logged, and a shutdown lets them finish."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` behind the caller."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def settle(self, seconds: float) -> None:
        """Wait until nothing is left, for at most `seconds`."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.error("work behind an answer failed", exc_info=task.exception())


class Promptly:
    """Calls to the engine behind the answer, which waits for them a moment to tell the outcome."""

    def __init__(self, background: Background, about: str, seconds: float = 1.0) -> None:
        self._background = background
        self._hand_over = HandOver(about=about)
        self._seconds = seconds

    async def __call__(self, which: str, what: str, call: Coroutine[Any, Any, None]) -> None:
        """Make a call that may fail; the reconciler repeats it then."""
        told = asyncio.Event()

        async def tell() -> None:
            try:
                await self._hand_over(which, what, call)
            finally:
                told.set()

        self._background.spawn(tell())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await told.wait()
