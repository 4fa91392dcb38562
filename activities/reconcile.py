"""The reconciler: what the store and the engine must agree on is made to agree.

One pass at boot, on reconnect and every minute, in one worker at a time (a lease in the store).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from activities.leases import RECONCILER
from activities.looks import EngineList, Looks
from activities.stuck import StuckRuns
from domain.clients import Dispatching
from domain.deciding import Deciding
from domain.errors import EngineUnavailableError, NotFoundError, StoreUnavailableError
from domain.ports import Clock, RunGateway
from domain.records import StepBook, UpkeepBook
from domain.run import RunState
from domain.step import Finish
from domain.stopping import Stopping
from domain.upkeep import Lease, Mend, OpenRun, what_to_mend

_log = logging.getLogger(__name__)

PASS_RUNS = 10_000
_LEASE_RUNS = 100
"""After how many runs the lease is renewed: each takes a question to the engine."""
_FAILED = "failed"
_REVISITED = "revisit"
_SWEPT = "sweep"
IDEMPOTENCY_MS = 24 * 3600 * 1000


class EngineView(EngineList, Protocol):
    """What the engine knows of runs."""

    async def look(self, run_id: str) -> tuple[str, str]:
        """Return `missing`, `open` or `closed`, and for a closed one how it ended.

        For an open one: the attempt of its workflow task once that keeps failing, else nothing.

        Raises:
            EngineUnavailableError: the engine does not answer.
        """
        ...

    async def check(self) -> str | None:
        """Return None when the engine serves and is the store's own, else a sentence."""
        ...


@dataclass(frozen=True, slots=True)
class ReconcileSettings:
    """How often and how soon. `settle_seconds` leaves a fresh run to whoever accepted it."""

    every_seconds: float = 60.0
    settle_seconds: float = 5.0
    lease_seconds: float = 30.0
    look_seconds: float = 3.0
    """Between two looks whether the engine answers."""


@dataclass(frozen=True, slots=True)
class ReconcilePorts:
    """The two sides that must agree."""

    book: UpkeepBook
    steps: StepBook
    gateway: RunGateway
    view: EngineView
    clock: Clock
    deciding: Deciding
    stopping: Stopping
    dispatching: Dispatching
    chores: Mapping[str, Callable[[], Awaitable[int]]] = field(default_factory=dict)
    """What else a pass makes agree, by name; each returns how many it had to mend."""


class Reconciler:
    """Passes over open runs."""

    def __init__(
        self,
        ports: ReconcilePorts,
        worker_id: str,
        settings: ReconcileSettings | None = None,
    ) -> None:
        self._book = ports.book
        self._steps = ports.steps
        self._gateway = ports.gateway
        self._view = ports.view
        self._looks = Looks(ports.view)
        self._stuck = StuckRuns(ports.book)
        self._clock = ports.clock
        self._deciding = ports.deciding
        self._stopping = ports.stopping
        self._dispatching = ports.dispatching
        self._chores = ports.chores
        self._worker_id = worker_id
        self._settings = settings or ReconcileSettings()
        self._nudge = asyncio.Event()
        self._on_restarted: Callable[[], None] | None = None

    def restart_missing(self, on_done: Callable[[], None]) -> None:
        """Start runs again that the engine does not know, instead of ending them.

        Their finished steps return what is stored. Until one pass has reached all; then `on_done`
        is called.
        """
        self._on_restarted = on_done

    def nudge(self) -> None:
        """Ask for a pass now, over fresh runs too: a connection came back, or a worker was lost."""
        self._nudge.set()

    async def run_forever(self) -> None:
        """Make a pass at once, then regularly, until cancelled."""
        settle = 0.0
        while True:
            self._nudge.clear()
            try:
                await self.make_pass(settle)
            except (StoreUnavailableError, EngineUnavailableError) as error:
                _log.warning("reconciling waits: %s", error)
                await self._pause(min(2.0, self._settings.every_seconds))
                continue
            except Exception:  # noqa: BLE001 - a loop that ends would mend nothing ever after
                _log.exception("a pass over the open runs broke off; the next one comes")
            nudged = await self._pause(self._settings.every_seconds)
            settle = 0.0 if nudged else self._settings.settle_seconds

    async def drop(self) -> None:
        """Leave the passes to another worker: this one stops."""
        await self._book.drop_lease(RECONCILER, self._worker_id)

    async def watch_engine(self) -> None:
        """Ask for a pass whenever the engine is back after it was away, until cancelled."""
        was_away = False
        while True:
            is_away = await self._view.check() is not None
            if was_away and not is_away:
                self.nudge()
            was_away = is_away
            await asyncio.sleep(self._settings.look_seconds)

    async def _pause(self, seconds: float) -> bool:
        """Wait, and say whether a nudge ended it."""
        try:
            async with asyncio.timeout(seconds):
                return await self._nudge.wait()
        except TimeoutError:
            return False

    async def make_pass(self, settle_seconds: float | None = None) -> dict[str, int]:
        """Look at every open run once and mend it; return how many of each mend were made.

        Raises:
            EngineUnavailableError: the engine does not answer, or is not the store's own.
        """
        said = await self._view.check()
        if said is not None:
            raise EngineUnavailableError(said)
        if not await self._hold_lease():
            return {}
        now = self._clock.now_ms()
        settle = self._settings.settle_seconds if settle_seconds is None else settle_seconds
        counts: Counter[str] = Counter()
        looks: dict[str, str] = {}
        runs = await self._book.open_runs(now - int(settle * 1000) + 1, PASS_RUNS)
        chosen = await self._looks.choose(runs, self._stuck.known)
        for place, found in enumerate(chosen, start=1):
            counts[await self._look_after(found, looks)] += 1
            if place % _LEASE_RUNS == 0 and not await self._hold_lease():
                return counts
        await self._stuck.report(looks)
        counts[_REVISITED] = await self._deciding.revisit()
        counts[_SWEPT] = await self._dispatching.sweep()
        for name, chore in self._chores.items():
            counts[name] += await self._do(name, chore)
        await self._book.purge_idempotency(now - IDEMPOTENCY_MS)
        del counts[Mend.NOTHING]
        counts = +counts
        if counts:
            told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
            _log.info("reconciled: %s", told)
        if self._on_restarted is not None and not counts[_FAILED]:
            self._on_restarted()
            self._on_restarted = None
        return counts

    async def _do(self, name: str, chore: Callable[[], Awaitable[int]]) -> int:
        """Do a chore; one that breaks off must not keep the pass from its end."""
        try:
            return await chore()
        except (StoreUnavailableError, EngineUnavailableError):
            raise
        except Exception:  # noqa: BLE001 - the next pass tries again
            _log.exception("reconciling %s broke off", name)
            return 0

    async def _hold_lease(self) -> bool:
        now = self._clock.now_ms()
        until = now + int(self._settings.lease_seconds * 1000)
        return await self._book.take_lease(Lease(RECONCILER, self._worker_id, "", until), now)

    async def _look_after(self, found: OpenRun, looks: dict[str, str]) -> str:
        """Mend one run if it needs it; return which mend, or that it failed.

        Notes in `looks` what the engine says of an open one.

        A run that cannot be mended must not keep the pass from those after it.
        """
        run_id = found.run.run_id
        try:
            state, how = await self._view.look(run_id)
            looks[run_id] = how if state == "open" else ""
            restarts = self._on_restarted is not None
            mend = what_to_mend(found, state, restarts_missing=restarts)
            if mend is not Mend.NOTHING:
                await self._mend(found, mend, how)
                workflow = state if state == "open" else how
                _log.info("run %s was mended: %s; its workflow is %s", run_id, mend, workflow)
        except StoreUnavailableError:
            raise
        except EngineUnavailableError as error:
            if await self._view.check() is not None:
                raise
            _log.warning("run %s cannot be reconciled now: %s", run_id, error)
            return _FAILED
        except Exception:  # noqa: BLE001 - the runs after this one are not to blame
            _log.exception("run %s cannot be reconciled; look at its row", run_id)
            return _FAILED
        return mend

    async def _mend(self, found: OpenRun, mend: Mend, how: str) -> None:
        actions: dict[Mend, Callable[[], Awaitable[None]]] = {
            Mend.START: lambda: self._start(found),
            Mend.CANCEL: lambda: self._cancel(found, how),
            Mend.WAKE: lambda: self._gateway.wake(found.run.run_id),
            Mend.CLOSE: lambda: self._close(found, how),
        }
        await actions[mend]()

    async def _start(self, found: OpenRun) -> None:
        spec = await self._book.spec_of(found.run.run_id)
        await self._gateway.start(found.run, spec, queued=found.queued)

    async def _cancel(self, found: OpenRun, stuck_at: str) -> None:
        """Repeat a cancel; a stuck run is ended here, because its own workflow cannot."""
        await self._gateway.cancel(found.run.run_id)
        if stuck_at:
            await self._end(found.run.run_id, Finish(state=RunState.CANCELLED))

    async def _close(self, found: OpenRun, how: str) -> None:
        """End a run whose workflow is gone: no code of ours will run for it any more."""
        code, said = _why_closed(how)
        await self._end(found.run.run_id, Finish(state=RunState.FAILED, code=code, message=said))

    async def _end(self, run_id: str, finish: Finish) -> None:
        try:
            finished = await self._steps.finalize(run_id, finish)
        except NotFoundError:
            return
        await self._stopping.tell(run_id, finished)


def _why_closed(how: str) -> tuple[str, str]:
    if how == "missing":
        return "engine_state_lost", "the engine no longer knows this run; start it again"
    return f"engine_{how}", f"the engine closed this run as {how} before it could end"
