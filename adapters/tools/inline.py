"""Runs a tool in the event loop, cut at its timeout even when it swallows cancellation.

A `SystemExit` or `KeyboardInterrupt` that leaves a task ends the event loop, and the process with
it. Those of a tool are its failure and nothing more, also in tasks that it makes itself.
"""

import asyncio
import logging
from collections.abc import Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from adapters.tools.decorator import FunctionTool
from adapters.tools.pool import ToolRaisedError
from adapters.tools.watch import LoopWatch

_log = logging.getLogger(__name__)
_running: ContextVar[str] = ContextVar("tool that is running")


@dataclass(frozen=True, slots=True)
class Terms:
    """How a call is run. Seconds; `call` names it in the log."""

    timeout_seconds: float
    grace_seconds: float
    call: str
    watch: LoopWatch


async def run_inline(tool: FunctionTool, bound: dict[str, Any], terms: Terms) -> object:
    """Return what the tool returns.

    A tool that ignores its cancellation for `grace_seconds` is left behind and reported: its caller
    goes on, whatever the tool does.

    Raises:
        TimeoutError: it was cut at `timeout_seconds`.
        ToolRaisedError: it meant to end the process.
        Exception: whatever the tool raises.
    """
    name = tool.spec.name
    if not tool.is_async:
        with terms.watch.during(terms.call):
            return await _contained(name, _called(tool, bound))
    loop = asyncio.get_running_loop()
    if loop.get_task_factory() is None:
        loop.set_task_factory(_task)
    task = loop.create_task(_as_tool(name, tool.function(**bound)))
    terms.watch.follow(task, terms.call)
    try:
        await asyncio.wait({task}, timeout=terms.timeout_seconds)
        if not task.done():
            raise TimeoutError(f"tool {name} was cut after {terms.timeout_seconds} s")
    finally:
        await _stop(task, terms)
    if task.cancelled():
        raise RuntimeError(f"tool {name} cancelled itself")
    return task.result()


async def _called(tool: FunctionTool, bound: dict[str, Any]) -> object:
    return tool.function(**bound)


async def _as_tool(name: str, work: Coroutine[Any, Any, Any]) -> object:
    _running.set(name)
    return await _contained(name, work)


async def _contained(name: str, work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - as it returns
    """Do the work of a tool, and let nothing out that would end more than the tool."""
    try:
        return await work
    except (Exception, asyncio.CancelledError, GeneratorExit):
        raise
    except BaseException as error:
        raise ToolRaisedError(f"tool {name} raised {type(error).__name__}: {error}") from error


def _task(
    loop: asyncio.AbstractEventLoop,
    work: Any,  # noqa: ANN401 - a coroutine or a generator, as the loop takes them
    **options: Any,  # noqa: ANN401 - those of asyncio.Task
) -> asyncio.Task[Any]:
    """Make a task as the loop does, contained when a tool asks for it."""
    name = _running.get(None)
    return asyncio.Task(work if name is None else _contained(name, work), loop=loop, **options)


async def _stop(task: asyncio.Future[Any], terms: Terms) -> None:
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task}, timeout=terms.grace_seconds)
    if not task.done():
        _log.error("tool %s ignores its cancellation and was left running", terms.call)
        terms.watch.note_deaf(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Future[Any]) -> None:
    """Take note of how a task ended after nobody waits for it any more."""
    if not task.cancelled():
        task.exception()
