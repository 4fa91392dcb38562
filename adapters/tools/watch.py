"""Sees that a tool keeps the event loop from running, and that a tool goes on after it was cut.

An `async` tool shares the loop with everything else in its process. One that blocks it cannot be
cut: nothing runs that could. Only a thread sees that, and all it can do is to say so.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from domain.stats import ToolTrouble

STALL_SECONDS = 1.0
"""For so long the loop does not run before that is an incident."""
_SHOWN = 10
_log = logging.getLogger(__name__)


class LoopWatch:
    """Watches the loop from a thread of its own, which lives while tools run in the loop."""

    def __init__(self, stall_seconds: float = STALL_SECONDS) -> None:
        self._stall_seconds = stall_seconds
        self._lock = threading.Lock()
        self._running: dict[object, str] = {}
        self._thread: threading.Thread | None = None
        self._deaf: set[asyncio.Future[object]] = set()
        self._stalls = 0

    def trouble(self) -> ToolTrouble:
        """Return how many tools are deaf to their end, and how often the loop stood still."""
        return ToolTrouble(left_running=len(self._deaf), loop_stalls=self._stalls)

    @contextmanager
    def during(self, call: str) -> Iterator[None]:
        """Watch while a tool runs that ends before its caller goes on. `call` names it in the log.

        The caller is in the event loop.
        """
        key = object()
        self._begin(key, call)
        try:
            yield
        finally:
            self._end(key)

    def follow(self, task: "asyncio.Future[object]", call: str) -> None:
        """Watch until a tool's task has ended, also after its caller went on."""
        self._begin(task, call)
        task.add_done_callback(self._end)

    def note_deaf(self, task: "asyncio.Future[object]") -> None:
        """Count a tool that was cut and goes on, until it ends."""
        self._deaf.add(task)
        task.add_done_callback(self._deaf.discard)

    def _begin(self, key: object, call: str) -> None:
        with self._lock:
            self._running[key] = call
            if self._thread is None:
                loop = asyncio.get_running_loop()
                thread = threading.Thread(
                    target=self._watch, args=(loop,), name="loop watch", daemon=True
                )
                self._thread = thread
                thread.start()

    def _end(self, key: object) -> None:
        with self._lock:
            self._running.pop(key, None)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while self._has_work(loop):
            answered = threading.Event()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # closed just now: the next look sees it
                continue
            if answered.wait(self._stall_seconds):
                time.sleep(self._stall_seconds / 4)
            else:
                self._tell_of_stall(loop, answered)

    def _has_work(self, loop: asyncio.AbstractEventLoop) -> bool:
        with self._lock:
            if self._running and not loop.is_closed():
                return True
            self._thread = None
            return False

    def _tell_of_stall(self, loop: asyncio.AbstractEventLoop, answered: threading.Event) -> None:
        """Say once what runs while the loop stands still, and how long that took."""
        since = time.monotonic() - self._stall_seconds
        self._stalls += 1
        with self._lock:
            calls = sorted(self._running.values())
        more = f" and {len(calls) - _SHOWN} more" if len(calls) > _SHOWN else ""
        shown = ", ".join(calls[:_SHOWN]) + more
        _log.warning(
            "the event loop has not run for %g s while these tools run in it: %s; a tool that"
            " blocks has to be a plain function, which runs in a process of its own",
            self._stall_seconds,
            shown,
        )
        while not answered.wait(self._stall_seconds):
            if loop.is_closed():
                return
        _log.info("the event loop runs again after %.1f s", time.monotonic() - since)
