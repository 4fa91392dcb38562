"""A tool that keeps the event loop from running is seen, and so is one that is deaf to its end."""

import asyncio
import contextlib
import logging
import threading
import time

import pytest

from adapters.tools.decorator import tool
from adapters.tools.registry import ToolRegistry
from adapters.tools.watch import LoopWatch
from domain.stats import ToolTrouble
from tests.unit.adapters.tools.calls import call, invocation


@tool()
async def block(seconds: float) -> str:
    """Keep everybody waiting."""
    time.sleep(seconds)
    return "done"


@tool()
async def rest() -> str:
    """Keep nobody waiting."""
    await asyncio.sleep(0.2)
    return "done"


@pytest.fixture
def quick() -> LoopWatch:
    return LoopWatch(stall_seconds=0.05)


def watched(quick: LoopWatch, *tools: object) -> ToolRegistry:
    registry = ToolRegistry(tools)  # type: ignore[arg-type] # functions, decorated above
    registry._watch = quick
    return registry


async def ended(watch: LoopWatch) -> None:
    """Wait until the thread of a watch has gone."""
    async with asyncio.timeout(10):
        while watch._thread is not None:
            await asyncio.sleep(0.01)


async def test_a_tool_that_blocks_the_loop_is_named_once(
    quick: LoopWatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry = watched(quick, block, rest)

    with caplog.at_level(logging.INFO, logger="adapters.tools.watch"):
        await asyncio.gather(call(registry, "rest"), call(registry, "block", seconds=0.5))
        await ended(quick)

    (warning, end) = (record.getMessage() for record in caplog.records)
    assert "has not run for 0.05 s" in warning
    assert "block (run run_1), rest (run run_1);" in warning
    assert end.startswith("the event loop runs again after")
    assert registry.trouble() == ToolTrouble(loop_stalls=1)


async def test_tools_that_wait_are_no_incident_and_the_thread_goes_with_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    registry = ToolRegistry([rest])

    outcome = await call(registry, "rest")
    names = [thread.name for thread in threading.enumerate()]
    await ended(registry._watch)

    assert outcome.ok
    assert "loop watch" in names
    assert caplog.records == []
    assert registry.trouble() == ToolTrouble()


async def test_many_tools_are_named_in_part(
    quick: LoopWatch, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(13):
            stack.enter_context(quick.during(f"t{number:02}"))
        time.sleep(0.3)
    await ended(quick)

    assert "t00, t01," in caplog.text
    assert "t09 and 3 more;" in caplog.text


def test_a_loop_that_is_gone_is_watched_no_more(quick: LoopWatch) -> None:
    async def leave() -> None:
        quick.during("stays").__enter__()
        time.sleep(0.2)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    loop.close()
    thread = quick._thread
    if thread is not None:
        thread.join(10)

    assert quick._thread is None


async def test_a_tool_that_was_cut_is_counted_until_it_ends() -> None:
    release = asyncio.Event()

    @tool()
    async def deaf() -> None:
        """Refuse to go."""
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    registry = ToolRegistry([deaf], cancel_grace_seconds=0.01)
    with pytest.raises(TimeoutError):
        await registry.run(invocation("deaf", {}, timeout_seconds=0.05))
    left = registry.trouble()
    release.set()
    await ended(registry._watch)

    assert left == ToolTrouble(left_running=1)
    assert registry.trouble() == ToolTrouble()
