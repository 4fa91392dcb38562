"""Runs a tool in the event loop, cut at its timeout even when it swallows cancellation."""

import asyncio
import logging
from typing import Any

from adapters.tools.decorator import FunctionTool

_log = logging.getLogger(__name__)


async def run_inline(
    tool: FunctionTool, bound: dict[str, Any], timeout_seconds: float, grace_seconds: float
) -> object:
    """Return what the tool returns.

    A tool that ignores its cancellation for `grace_seconds` is left behind and reported: its caller
    goes on, whatever the tool does.

    Raises:
        TimeoutError: it was cut at `timeout_seconds`.
        Exception: whatever the tool raises.
    """
    if not tool.is_async:
        return tool.function(**bound)
    task = asyncio.ensure_future(tool.function(**bound))
    try:
        await asyncio.wait({task}, timeout=timeout_seconds)
        if not task.done():
            raise TimeoutError(f"tool {tool.spec.name} was cut after {timeout_seconds} s")
    finally:
        await _stop(task, tool.spec.name, grace_seconds)
    if task.cancelled():
        raise RuntimeError(f"tool {tool.spec.name} cancelled itself")
    return task.result()


async def _stop(task: asyncio.Future[Any], name: str, grace_seconds: float) -> None:
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task}, timeout=grace_seconds)
    if not task.done():
        _log.error("tool %s ignores its cancellation and was left running", name)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Future[Any]) -> None:
    """Take note of how a task ended after nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
