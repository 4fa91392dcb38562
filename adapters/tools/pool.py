"""A few warm processes for blocking tools: one call at a time each, killed when a call is cut."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from adapters.tools.frames import Frame
from adapters.tools.process import ChildLostError, ChildProcess
from adapters.tools.results import UnusableResultError
from domain.errors import ToolFailedError, TransientError
from domain.tool import ToolInvocation

MAX_FRAME_OVERHEAD_BYTES = 1 << 16
ESCAPED_BYTES = 6
"""Most bytes that one byte of text takes as an escape in a frame."""
_REUSABLE = frozenset({"result", "failed", "transient"})
_log = logging.getLogger(__name__)


class ToolRaisedError(Exception):
    """A tool raised what it did not declare; whether it acted is unknown."""


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Sizes and waits of a pool."""

    max_processes: int = 8
    """Calls at a time; another one waits `slot_seconds` and is then refused as transient."""
    max_idle: int = 2
    """Processes kept warm for the next call, `idle_seconds` long."""
    calls_per_process: int = 200
    slot_seconds: float = 5.0
    idle_seconds: float = 60.0
    boot_seconds: float = 30.0
    """To start and to import the tool's module; the tool's own timeout begins afterwards."""


class ProcessPool:
    """Runs blocking tools in child processes."""

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self._limits = limits or PoolLimits()
        self._slots = asyncio.Semaphore(self._limits.max_processes)
        self._idle: dict[ChildProcess, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._is_closed = False

    async def call(self, target: str, invocation: ToolInvocation, max_bytes: int) -> str:
        """Run the tool at `target` (`module:name`) and return its encoded result.

        Raises:
            TimeoutError: it was killed at its timeout.
            ToolFailedError, TransientError: nothing happened.
            UnusableResultError, ToolRaisedError, ChildLostError: it ran; see there.
        """
        request: Frame = {
            "target": target,
            "invocation": invocation.model_dump(mode="json"),
            "max_bytes": max_bytes,
        }
        async with self._slot(), self._ready_child(request, invocation.name) as (child, first):
            last = first
            if first["kind"] == "ready":
                async with asyncio.timeout(invocation.timeout_seconds):
                    limit = max_bytes * ESCAPED_BYTES + MAX_FRAME_OVERHEAD_BYTES
                    last = await child.exchange({"go": True}, limit)
            self._give_back(child, last)
        return _content(invocation.name, last)

    async def aclose(self) -> None:
        """End every idle process; those that serve a call end with it."""
        self._is_closed = True
        while self._idle:
            self._retire(next(iter(self._idle)))
        if self._closing:
            await asyncio.wait(self._closing)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._limits.slot_seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise TransientError(
                f"all {self._limits.max_processes} tool processes are busy; nothing happened",
                retry_after=timedelta(seconds=1),
            ) from error
        try:
            yield
        finally:
            self._slots.release()

    @asynccontextmanager
    async def _ready_child(
        self, request: Frame, name: str
    ) -> AsyncIterator[tuple[ChildProcess, Frame]]:
        """Yield a process and its answer to `request`; kill it unless it was given back."""
        child, frame = await self._prepare(request, name)
        try:
            yield child, frame
        finally:
            if child.serving:
                await child.close(kill=True)

    async def _prepare(self, request: Frame, name: str) -> tuple[ChildProcess, Frame]:
        """Find a process that is ready to run the tool. Nothing has happened until `go` is sent."""
        while True:
            warm = self._take_idle()
            child = warm or await self._start()
            child.serving = name
            child.calls += 1
            try:
                return child, await self._first_answer(child, request)
            except ChildLostError as error:
                if warm is None:
                    raise TransientError(f"{error}; nothing happened") from error

    async def _first_answer(self, child: ChildProcess, request: Frame) -> Frame:
        """Return the answer to `request`, and kill a process that has none in time."""
        seconds = self._limits.boot_seconds
        try:
            async with asyncio.timeout(seconds):
                return await child.exchange(request, MAX_FRAME_OVERHEAD_BYTES)
        except TimeoutError as error:
            await child.close(kill=True)
            raise ChildLostError(
                f"the process of tool {child.serving} was not ready within {seconds} s"
            ) from error
        except BaseException:
            await child.close(kill=True)
            raise

    async def _start(self) -> ChildProcess:
        try:
            return await ChildProcess.start()
        except OSError as error:
            raise TransientError(f"no tool process can be started: {error}") from error

    def _take_idle(self) -> ChildProcess | None:
        while self._idle:
            child, timer = self._idle.popitem()
            timer.cancel()
            if child.is_alive:
                return child
            self._close_later(child)
        return None

    def _give_back(self, child: ChildProcess, frame: Frame) -> None:
        """Keep a process that answered in good order for the next call, or let it end."""
        child.serving = ""
        keep = frame["kind"] in _REUSABLE and child.calls < self._limits.calls_per_process
        if keep and not self._is_closed and len(self._idle) < self._limits.max_idle:
            loop = asyncio.get_running_loop()
            timer = loop.call_later(self._limits.idle_seconds, self._retire, child)
            self._idle[child] = timer
        else:
            self._close_later(child)

    def _retire(self, child: ChildProcess) -> None:
        self._idle.pop(child).cancel()
        self._close_later(child)

    def _close_later(self, child: ChildProcess) -> None:
        task = asyncio.get_running_loop().create_task(child.close(kill=False))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _content(name: str, frame: Frame) -> str:
    """Return the result in `frame`, or raise what it says went wrong."""
    message = str(frame.get("message", ""))
    match frame["kind"]:
        case "result":
            return str(frame["content"])
        case "failed":
            raise ToolFailedError(message)
        case "transient":
            wait = frame["retry_after"]
            raise TransientError(message, retry_after=wait and timedelta(seconds=wait))
        case "missing":
            raise ToolFailedError(f"tool {name} cannot be loaded in its process: {message}")
        case "unusable_result":
            raise UnusableResultError(message)
        case _:
            _log.warning("tool %s raised: %s", name, frame.get("traceback"))
            raise ToolRaisedError(f"tool {name} raised {frame.get('type')}: {message}")
