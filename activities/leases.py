"""The lease of a worker: who is alive, and what happens to the attempts of one that is not.

Every worker renews its lease in the store. When one runs out, or its process is seen to be gone,
the one peer that removes the lease fails the dead worker's attempts by their task tokens, so that
the next attempt begins within milliseconds instead of after a heartbeat timeout. One that committed
its end and could not report it any more is among them: the next returns what is stored.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.agenthealth import AGENT_CHECKS
from domain.errors import EngineUnavailableError, StoreUnavailableError
from domain.ports import Clock
from domain.push import INGRESS
from domain.records import UpkeepBook
from domain.upkeep import HeldStep, Lease

_log = logging.getLogger(__name__)

PREFIX = "worker:"
_REPORT_MS = 60_000
"""An attempt that ended longer ago than this before a worker was last seen has been reported."""
_AT_ONCE = 50
RECONCILER = "reconciler"
"""The lease of the one worker that makes the passes."""


class AttemptKiller(Protocol):
    """The engine, as far as dead attempts go."""

    async def fail_attempt(self, token: bytes) -> bool:
        """Fail one attempt so that the next begins now; False when it is no longer current."""
        ...

    async def reset_sticky(self, run_id: str) -> None:
        """Free a run's workflow tasks from the queue of a dead worker."""
        ...


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease, and how it is kept.

    `process` names the process so that a peer on the same machine can see whether it lives;
    `is_gone` says whether a named process certainly no longer does (False when unsure).
    """

    worker_id: str
    process: str
    is_gone: Callable[[str], bool]
    renew_seconds: float = 0.5
    valid_seconds: float = 2.0


class WorkerLease:
    """Keeps one worker's lease, and takes over from workers that lost theirs.

    `on_loss` is called for each worker that is taken over from: it may have left more undone.
    """

    def __init__(
        self,
        book: UpkeepBook,
        engine: AttemptKiller,
        clock: Clock,
        holder: Holder,
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        self._book = book
        self._engine = engine
        self._clock = clock
        self._holder = holder
        self._on_loss = on_loss
        self._worker_id = holder.worker_id
        self._valid_ms = int(holder.valid_seconds * 1000)
        self._suspects: dict[str, tuple[int, float]] = {}

    async def keep(self) -> None:
        """Renew the lease and watch the others, until cancelled."""
        while True:
            try:
                await self.renew()
                await self.take_over()
            except StoreUnavailableError as error:
                _log.warning("the worker's lease was not renewed: %s", error)
            await asyncio.sleep(self._holder.renew_seconds)

    async def renew(self) -> None:
        """Renew this worker's own lease."""
        now = self._clock.now_ms()
        name = PREFIX + self._worker_id
        lease = Lease(name, self._worker_id, self._holder.process, now + self._valid_ms)
        await self._book.take_lease(lease, now)

    async def drop(self) -> None:
        """Give the lease back: this worker stops and has nothing open."""
        await self._book.drop_lease(PREFIX + self._worker_id, self._worker_id)

    async def take_over(self) -> int:
        """Hand on the attempts of every dead worker; return how many attempts were failed."""
        failed = 0
        for lease in await self._book.list_leases(PREFIX):
            if lease.holder == self._worker_id or not self._is_dead(lease):
                continue
            since = lease.until_ms - _REPORT_MS
            steps = await self._book.unreported_steps(lease.holder, since)
            # The lease goes last but one: whoever removes it is the only one to act.
            if not await self._book.drop_lease(lease.name, lease.holder):
                continue
            _log.warning("worker %s is gone with %d attempts", lease.holder, len(steps))
            failed += await self._hand_on(steps)
            await self._book.drop_lease(RECONCILER, lease.holder)
            await self._book.drop_lease(INGRESS, lease.holder)
            await self._book.drop_lease(AGENT_CHECKS, lease.holder)
            self._on_loss()
        return failed

    def _is_dead(self, lease: Lease) -> bool:
        if self._holder.is_gone(lease.process):
            return True
        # Another machine's clock may differ from ours, so what counts is that the lease has not
        # been renewed for its whole validity by our own monotonic clock.
        seen = self._suspects.get(lease.name)
        now = time.monotonic()
        if seen is None or seen[0] != lease.until_ms:
            self._suspects[lease.name] = (lease.until_ms, now)
            return False
        return (now - seen[1]) * 1000 > self._valid_ms

    async def _hand_on(self, steps: Sequence[HeldStep]) -> int:
        gate = asyncio.Semaphore(_AT_ONCE)
        results = await asyncio.gather(
            *(self._fail(gate, step) for step in steps), return_exceptions=True
        )
        for step, result in zip(steps, results, strict=True):
            if isinstance(result, EngineUnavailableError):
                _log.warning("step %s of %s waits for its heartbeat", step.step_id, step.run_id)
            elif isinstance(result, BaseException):
                raise result
        return sum(1 for result in results if result is True)

    async def _fail(self, gate: asyncio.Semaphore, step: HeldStep) -> bool:
        async with gate:
            failed = await self._engine.fail_attempt(step.token)
            await self._engine.reset_sticky(step.run_id)
            return failed
