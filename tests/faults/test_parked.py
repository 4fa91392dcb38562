"""Whatever a run waits for, it outlives each process, a reset of its workflow, and all in turn.

Faults 2, 5, 10 and 36 for runs that wait: an approval, a client's tool, a child, a session.
"""

import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.faults.conftest import LedgerAt
from tests.faults.parked import Parked, park
from tests.faults.report import record
from tests.rig.resets import reset
from tests.rig.roles import Role
from tests.rig.temporal import TemporalServer
from tests.rig.world import World
from tests.workflows.stage import connect

pytestmark = pytest.mark.timeout(300)
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "10"))


class Roles:
    """API and worker apart, and the Temporal server: each can be killed and started again."""

    def __init__(self, world: World, server: TemporalServer) -> None:
        self.world = world
        self._server = server
        self._roles: dict[str, Role] = {}

    async def start(self) -> None:
        api, (worker,) = await self.world.apart()
        self._roles = {"api": api, "worker": worker}

    async def kill_role(self, name: str) -> None:
        self._roles[name].kill()
        again = self.world.api if name == "api" else self.world.worker
        self._roles[name] = await again()

    async def kill_server(self) -> None:
        self._server.child.kill()
        self._server.start()
        await self.world.ready()

    async def kill_all(self) -> None:
        for role in self._roles.values():
            role.kill()
        self._server.child.kill()
        self._server.start()
        await self.start()

    async def reset_all(self, parked: Parked) -> None:
        """Begin every workflow anew, as an operator does by hand."""
        client = await connect(self._server.address)
        for viewer in parked.viewers:
            await reset(client, viewer.run_id)


def deaths(roles: Roles, parked: Parked) -> dict[str, Callable[[], Awaitable[None]]]:
    """Return what can happen to runs that wait, by name."""
    return {
        "worker": lambda: roles.kill_role("worker"),
        "api": lambda: roles.kill_role("api"),
        "server": roles.kill_server,
        "reset": lambda: roles.reset_all(parked),
        "all": roles.kill_all,
    }


@pytest.mark.parametrize(
    "happens", [("worker", "api", "server"), ("reset",), ("all",)], ids=["each", "reset", "all"]
)
async def test_runs_that_wait_outlive(
    own_server: TemporalServer, tmp_path: Path, ledger: LedgerAt, happens: tuple[str, ...]
) -> None:
    async with World(tmp_path / "world", own_server.address) as world:
        roles = Roles(world, own_server)
        await roles.start()
        parked = await park(world, ledger)

        for death in happens:
            await deaths(roles, parked)[death]()
        await parked.answer()

        await parked.check()


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_a_seeded_loop_over_what_happens_to_runs_that_wait(
    own_server: TemporalServer, tmp_path: Path, ledger: LedgerAt, seed: int
) -> None:
    """Several things happen to the same runs, in any order, and they are reset once at most."""
    rng = random.Random(seed)
    told: list[str] = []
    for number in range(ROUNDS):
        ledger[0].effects.clear()
        async with World(tmp_path / f"world-{number}", own_server.address) as world:
            roles = Roles(world, own_server)
            await roles.start()
            parked = await park(world, ledger)
            happens = rng.sample(sorted(deaths(roles, parked)), 3)
            for death in happens:
                await deaths(roles, parked)[death]()
            await parked.answer()
            await parked.check()
        told += happens
    record("parked", seed, rounds=ROUNDS, deaths={name: told.count(name) for name in set(told)})
