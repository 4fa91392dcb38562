"""Tools in the event loop: cut at their timeout, whatever they do with cancellation."""

import asyncio
import logging

import pytest

from adapters.tools.decorator import tool
from adapters.tools.pool import ToolRaisedError
from adapters.tools.registry import ToolRegistry
from tests.unit.adapters.tools.calls import call, invocation


@tool()
async def wait_for_ever() -> None:
    """Wait."""
    await asyncio.Event().wait()


async def test_tool_is_cut_at_its_timeout() -> None:
    registry = ToolRegistry([wait_for_ever])

    with pytest.raises(TimeoutError, match="wait_for_ever was cut"):
        await registry.run(invocation("wait_for_ever", {}, timeout_seconds=0.05))


async def test_tool_that_swallows_its_cancellation_is_left_behind_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    release = asyncio.Event()

    @tool()
    async def stubborn() -> None:
        """Refuse to go."""
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        raise ValueError("nobody hears this")

    registry = ToolRegistry([stubborn], cancel_grace_seconds=0.01)
    with caplog.at_level(logging.ERROR), pytest.raises(TimeoutError):
        await registry.run(invocation("stubborn", {}, timeout_seconds=0.05))
    release.set()
    await asyncio.sleep(0)

    assert "stubborn ignores its cancellation" in caplog.text


async def test_cancellation_reaches_the_tool() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    @tool()
    async def watched() -> None:
        """Say when it is stopped."""
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    task = asyncio.create_task(call(ToolRegistry([watched]), "watched"))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()


async def test_tool_that_cancels_itself_does_not_cancel_its_caller() -> None:
    @tool()
    async def quitter() -> None:
        """Give up."""
        raise asyncio.CancelledError

    with pytest.raises(ToolRaisedError, match="quitter cancelled itself"):
        await call(ToolRegistry([quitter]), "quitter")
