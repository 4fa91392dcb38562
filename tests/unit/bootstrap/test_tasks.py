"""Ending tasks that do not want to end."""

import asyncio
import contextlib

import pytest

from bootstrap import tasks
from bootstrap.tasks import end_all


async def test_a_task_that_swallows_a_cancel_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "_AGAIN_SECONDS", 0.01)
    swallowed = []

    async def deaf_once() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(600)
        swallowed.append(True)
        await asyncio.sleep(600)

    async def fails() -> None:
        raise ValueError("its own affair")

    running = [asyncio.create_task(deaf_once()), asyncio.create_task(fails())]
    await asyncio.sleep(0)

    await end_all(running)

    assert swallowed == [True]
    assert all(task.done() for task in running)


async def test_nothing_to_end_is_no_mistake() -> None:
    await end_all([])
