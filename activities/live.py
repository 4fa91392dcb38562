"""The attempts that run in this process: stopped together, heard from together, counted.

One registry does what would else be three tasks per attempt: it heartbeats for all of them, stops
those of a cancelled run within milliseconds, and hands everything over when the worker drains.
"""

import asyncio
import contextlib
import contextvars
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from temporalio import activity

from domain.stats import WorkerSlot

HEARTBEAT_SECONDS = 1.0


class Stop(Enum):
    """Why an attempt was stopped from inside this process."""

    CANCEL = "cancel"
    DRAIN = "drain"


@dataclass(eq=False, slots=True)
class LiveAttempt:
    """One attempt: its task, what it runs, and why it was stopped, if it was."""

    run_id: str
    step_id: str
    task: asyncio.Task[object]
    context: contextvars.Context
    slot: int
    drains: bool
    """Whether a drain may cut it; an unsafe tool is waited for instead."""
    progress: int = 0
    unseen: int = 0
    """Bytes that its model sent and that stand in no row: thinking, arguments."""
    stopped: Stop | None = None
    is_error: bool = False
    """Whether its answer is an error: it ended well, and did not do what was asked."""
    started: float = field(default_factory=time.monotonic)

    def stop(self, why: Stop) -> None:
        """Stop the attempt; the first reason counts."""
        if self.stopped is None:
            self.stopped = why
            self.task.cancel()


@dataclass(slots=True)
class _Tally:
    processed: int = 0
    succeeded: int = 0
    failed: int = 0
    busy_ms: int = 0


class LiveAttempts:
    """Every attempt of one worker process.

    Args:
        worker_id: names this process in leases and steps.
        slots: how many attempts may run at once, for the figures.
    """

    def __init__(self, worker_id: str, slots: int, started_at_ms: int) -> None:
        self.worker_id = worker_id
        self.started_at_ms = started_at_ms
        self._live: dict[int, LiveAttempt] = {}
        self._tallies = [_Tally() for _ in range(slots)]
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    @contextlib.contextmanager
    def attempt(self, run_id: str, step_id: str, *, drains: bool = True) -> Iterator[LiveAttempt]:
        """Register the current activity for as long as the block runs."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an attempt runs in a task")
        slot = self._free_slot()
        live = LiveAttempt(run_id, step_id, task, contextvars.copy_context(), slot, drains)
        self._live[slot] = live
        self._idle.clear()
        if self._draining and drains:
            live.stop(Stop.DRAIN)
        ok = False
        try:
            yield live
            ok = not live.is_error
        finally:
            del self._live[slot]
            self._count(live, ok)
            if not self._live:
                self._idle.set()

    def cancel(self, run_id: str) -> int:
        """Stop the attempts of a run and return how many there were."""
        mine = [live for live in self._live.values() if live.run_id == run_id]
        for live in mine:
            live.stop(Stop.CANCEL)
        return len(mine)

    @property
    def is_draining(self) -> bool:
        """Whether attempts are cut, those that begin as well."""
        return self._draining

    async def drain(self, seconds: float) -> bool:
        """Stop what may be stopped, wait for the rest; return whether all ended in time."""
        self._draining = True
        for live in list(self._live.values()):
            if live.drains:
                live.stop(Stop.DRAIN)
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def heartbeat_forever(self) -> None:
        """Heartbeat for every attempt once a second, until cancelled."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for live in list(self._live.values()):
                live.context.run(activity.heartbeat, live.progress)

    def runs(self, run_id: str, step_id: str) -> bool:
        """Whether this process runs an attempt of that step."""
        return any(
            live.run_id == run_id and live.step_id == step_id for live in self._live.values()
        )

    def slots(self) -> Sequence[WorkerSlot]:
        """Return every slot with what it does and did. Source: seed C."""
        return [self._slot(number) for number in range(len(self._tallies))]

    def _slot(self, number: int) -> WorkerSlot:
        live, tally = self._live.get(number), self._tallies[number]
        return WorkerSlot(
            agent_id=f"{self.worker_id}/{number}",
            state="busy" if live else "idle",
            current_step=f"{live.run_id}:{live.step_id}" if live else None,
            processed=tally.processed,
            succeeded=tally.succeeded,
            failed=tally.failed,
            busy_ms=tally.busy_ms,
            started_at=self.started_at_ms,
        )

    def _free_slot(self) -> int:
        for number in range(len(self._tallies)):
            if number not in self._live:
                return number
        self._tallies.append(_Tally())
        return len(self._tallies) - 1

    def _count(self, live: LiveAttempt, ok: bool) -> None:
        tally = self._tallies[live.slot]
        tally.processed += 1
        tally.succeeded += ok
        tally.failed += not ok
        tally.busy_ms += int((time.monotonic() - live.started) * 1000)
