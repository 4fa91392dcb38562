"""Calls that wait side by side: a wake does not say which of them it is about, the store does.

One question for all of them costs the history one event. If each looked for itself, a run that
waits for many would pay a whole step for every one of them at every wake.
"""

import asyncio
from collections.abc import Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.order import RunOrder
    from workflows import store

_PATCH = "read_news"
"""Runs that began before this was there look at all their calls at every wake."""


def forget_failure(task: asyncio.Task[None]) -> None:
    """Take note of how a task ended, so that asyncio does not tell of it as forgotten."""
    if not task.cancelled():
        task.exception()


class News:
    """What was last heard of the waiting calls of one reply.

    Args:
        order: of the run.
        wakes: how often the run was woken so far.
    """

    def __init__(self, order: RunOrder, wakes: Callable[[], int]) -> None:
        self._order = order
        self._wakes = wakes
        self._heard = wakes()
        self._steps: frozenset[str] | None = frozenset()
        """None: any of them."""

    def is_about(self, step_id: str, seen: int) -> bool:
        """Whether a wake after the `seen`-th brought something for a step."""
        return self._heard > seen and (self._steps is None or step_id in self._steps)

    async def listen(self) -> None:
        """Ask the store at every wake, until cancelled."""
        while True:
            await workflow.wait_condition(lambda: self._wakes() > self._heard)
            # Before the question: whoever wakes the run during it may not be in the answer.
            asked = self._wakes()
            self._steps = await self._ask()
            self._heard = asked

    async def _ask(self) -> frozenset[str] | None:
        if not workflow.patched(_PATCH):
            return None
        return await store.read_news(self._order.run_id, self._order.timing.finalize_seconds)
