"""Checks external agents: all of them, by one worker at a time, for as long as any worker lives.

What a check finds is written to the store at once, so it survives a restart, and every process
that chooses an agent sees it. Agents are asked side by side: one that hangs keeps no other waiting.
"""

import asyncio
import logging
from dataclasses import dataclass

from domain.agenthealth import AGENT_CHECKS, CheckBook, CheckTarget, HealthProbe
from domain.errors import StoreUnavailableError
from domain.ports import Clock
from domain.records import UpkeepBook
from domain.upkeep import Lease

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CheckPorts:
    """What checking needs."""

    book: CheckBook
    probe: HealthProbe
    leases: UpkeepBook
    clock: Clock


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """How often every agent is asked, and how many at once."""

    every_seconds: float = 30.0
    at_once: int = 32


class AgentChecks:
    """The loop that checks, under a lease."""

    def __init__(
        self, ports: CheckPorts, worker_id: str, settings: CheckSettings | None = None
    ) -> None:
        self._ports = ports
        self._worker_id = worker_id
        self._settings = settings or CheckSettings()

    async def run_forever(self) -> None:
        """Check again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._settings.every_seconds)

    async def look(self) -> int:
        """Check every agent if it is this worker's turn; return how many were asked."""
        try:
            if not await self._holds_lease():
                return 0
            return await self._check_all()
        except StoreUnavailableError as error:
            _log.warning("the checks of agents wait: %s", error)
        except Exception:  # noqa: BLE001 - a loop that ends would check nobody ever after
            _log.exception("a round of checks broke off; the next one comes")
        return 0

    async def drop(self) -> None:
        """Leave the checks to another worker: this one stops."""
        await self._ports.leases.drop_lease(AGENT_CHECKS, self._worker_id)

    async def _holds_lease(self) -> bool:
        """Take or renew the lease, until some time after the next round is due."""
        now = self._ports.clock.now_ms()
        until = now + int(self._settings.every_seconds * 1500)
        return await self._ports.leases.take_lease(
            Lease(AGENT_CHECKS, self._worker_id, "", until), now
        )

    async def _check_all(self) -> int:
        targets = await self._ports.book.targets()
        gate = asyncio.Semaphore(self._settings.at_once)
        async with asyncio.TaskGroup() as checks:
            for target in targets:
                checks.create_task(self._check(target, gate))
        return len(targets)

    async def _check(self, target: CheckTarget, gate: asyncio.Semaphore) -> None:
        async with gate:
            report = await self._ports.probe.look(target.endpoint)
            try:
                await self._ports.book.checked(target, report)
            except StoreUnavailableError as error:
                _log.warning("a check of agent %s is not on record: %s", target.agent_id, error)
