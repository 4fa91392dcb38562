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

    assert "stubborn (run run_1) ignores its cancellation" in caplog.text


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


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, BaseException])
@pytest.mark.parametrize("way", ["awaits", "returns", "own task", "when cut"])
async def test_tool_that_would_end_the_process_only_fails(
    kind: type[BaseException], way: str
) -> None:
    """Were it to leave a task, the event loop would end, and this test with it."""

    async def over() -> None:
        raise kind("over")

    @tool(name="leaver")
    async def awaits() -> None:
        """Leave."""
        await asyncio.sleep(0)
        await over()

    @tool(name="leaver", blocking=False)
    def returns() -> None:
        """Leave at once."""
        raise kind("over")

    @tool(name="leaver")
    async def in_own_task() -> None:
        """Leave from below."""
        await asyncio.create_task(over())

    @tool(name="leaver")
    async def when_cut() -> None:
        """Leave when it is cut."""
        try:
            await asyncio.Event().wait()
        finally:
            await over()

    ways = {"awaits": awaits, "returns": returns, "own task": in_own_task, "when cut": when_cut}
    expected: type[Exception] = TimeoutError if way == "when cut" else ToolRaisedError

    with pytest.raises(
        expected, match="was cut" if way == "when cut" else rf"{kind.__name__}: over"
    ):
        await ToolRegistry([ways[way]]).run(invocation("leaver", {}, timeout_seconds=0.05))


async def test_cancellation_passes_through_what_a_tool_awaits() -> None:
    started, stopped = asyncio.Event(), asyncio.Event()

    async def below() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    @tool()
    async def above() -> None:
        """Wait for a task of its own."""
        await asyncio.create_task(below())

    task = asyncio.create_task(call(ToolRegistry([above]), "above"))
    await started.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()
