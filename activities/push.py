"""Pushes the event log to the receiver: one worker at a time, each run in order, none lost.

An event is sent, then the run's cursor moves in the store. Whoever dies in between sends that one
event again; a receiver knows it by its `event_id`. Runs are independent: one whose events are
refused is tried again later and later, and keeps no other from its turn.
"""

import asyncio
import logging
import random
import time
from dataclasses import dataclass

from domain.errors import StoreUnavailableError
from domain.ports import Clock
from domain.push import INGRESS, Behind, NotTakenError, PushBook, Receiver, pause_ms
from domain.records import EventLog, UpkeepBook
from domain.upkeep import Lease

_log = logging.getLogger(__name__)

_PAGE = 50
_LOUD_FAILURES = (1, 5, 10)
"""Failures in a row that the log tells; the others only the metrics."""


@dataclass(frozen=True, slots=True)
class PushPorts:
    """What pushing needs."""

    book: PushBook
    events: EventLog
    leases: UpkeepBook
    receiver: Receiver
    clock: Clock


@dataclass(frozen=True, slots=True)
class PushSettings:
    """How often to look and how much at once."""

    look_seconds: float = 0.2
    lease_seconds: float = 5.0
    most_runs: int = 32


class Pusher:
    """The loop that pushes, under a lease."""

    def __init__(
        self, ports: PushPorts, worker_id: str, settings: PushSettings | None = None
    ) -> None:
        self._ports = ports
        self._worker_id = worker_id
        self._settings = settings or PushSettings()
        self._going: dict[str, asyncio.Task[None]] = {}
        self._held_until = 0.0
        """By the monotonic clock: what this worker may rely on."""

    async def run_forever(self) -> None:
        """Push what there is, until cancelled."""
        try:
            while True:
                await self._look()
                await asyncio.sleep(self._settings.look_seconds)
        finally:
            await self._stop()

    async def drop(self) -> None:
        """Leave the pushing to another worker: this one stops."""
        await self._ports.leases.drop_lease(INGRESS, self._worker_id)

    async def _look(self) -> None:
        try:
            if not await self._holds_lease():
                await self._stop()
                return
            await self._ports.book.discover()
            await self._start_due()
        except StoreUnavailableError as error:
            _log.warning("pushing waits: %s", error)
        except Exception:  # noqa: BLE001 - a loop that ends would push nothing ever after
            _log.exception("a look for events to push broke off; the next one comes")

    async def _start_due(self) -> None:
        free = self._settings.most_runs - len(self._going)
        if free <= 0:
            return
        # Those that are being pushed are among the due.
        for run in await self._ports.book.due(self._settings.most_runs + free):
            if run.run_id not in self._going and len(self._going) < self._settings.most_runs:
                task = asyncio.create_task(self._push(run), name=f"push {run.run_id}")
                self._going[run.run_id] = task
                task.add_done_callback(lambda _, run_id=run.run_id: self._going.pop(run_id, None))  # type: ignore[misc] # bound now

    async def _stop(self) -> None:
        going = list(self._going.values())
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)

    async def _holds_lease(self) -> bool:
        """Renew the lease once half of it is over."""
        now = time.monotonic()
        valid = self._settings.lease_seconds
        if now < self._held_until - valid / 2:
            return True
        at = self._ports.clock.now_ms()
        lease = Lease(INGRESS, self._worker_id, "", at + int(valid * 1000))
        if await self._ports.leases.take_lease(lease, at):
            self._held_until = now + valid
            return True
        self._held_until = 0.0
        return False

    async def _push(self, run: Behind) -> None:
        """Push one run as far as it goes now."""
        try:
            await self._push_in_order(run)
        except StoreUnavailableError as error:
            _log.warning("pushing run %s waits: %s", run.run_id, error)
        except Exception:  # noqa: BLE001 - the other runs are not to blame
            _log.exception("run %s cannot be pushed now", run.run_id)
            await self._ports.book.fail(run, pause_ms(run.failures + 1, 0), "internal error")

    async def _push_in_order(self, run: Behind) -> None:
        after = run.pushed_seq
        while page := await self._ports.events.read(run.run_id, after, _PAGE):
            for event in page:
                if time.monotonic() >= self._held_until:
                    return  # frozen or cut off for so long that another may push this run
                try:
                    await self._ports.receiver.send(run.session_id, event)
                except NotTakenError as error:
                    failures = run.failures + 1 if after == run.pushed_seq else 1
                    await self._not_taken(
                        Behind(run.run_id, run.session_id, after, failures), error
                    )
                    return
                if not await self._ports.book.advance(run.run_id, event):
                    return
                after = event.seq

    async def _not_taken(self, run: Behind, error: NotTakenError) -> None:
        jitter = random.random()
        pause = pause_ms(run.failures, jitter, error.wait_ms)
        if run.failures in _LOUD_FAILURES:
            _log.warning(
                "INGRESS_URL did not take event %d of run %s (%d times now): %s; again in %.1f s",
                run.pushed_seq + 1,
                run.run_id,
                run.failures,
                error.message,
                pause / 1000,
                extra={"run_id": run.run_id},
            )
        await self._ports.book.fail(run, pause, error.message)
