"""The loop that checks agents, over books in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from activities.agentchecks import AgentChecks, CheckPorts, CheckSettings
from domain.agenthealth import AGENT_CHECKS, CheckTarget, Report
from domain.errors import StoreUnavailableError
from domain.upkeep import Lease
from tests.fakes.clock import FakeClock


@dataclass
class Book:
    """Targets in memory, and what was found."""

    agents: Sequence[str] = ("a", "b", "c")
    found: dict[str, Report] = field(default_factory=dict)
    trouble: Exception | None = None
    forgets: str = ""

    async def targets(self) -> Sequence[CheckTarget]:
        if self.trouble is not None:
            raise self.trouble
        return [CheckTarget(None, name, f"http://{name}.test") for name in self.agents]

    async def checked(self, target: CheckTarget, report: Report) -> None:
        if target.agent_id == self.forgets:
            raise StoreUnavailableError("away")
        self.found[target.agent_id] = report


@dataclass
class Probe:
    """Answers for every agent; `c` hangs until it is let go."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)

    async def look(self, endpoint: str) -> Report:
        self.asked.append(endpoint)
        if "c.test" in endpoint:
            await self.gate.wait()
        return Report(version="1")


@dataclass
class Leases:
    """One lease in memory."""

    held: Lease | None = None

    async def take_lease(self, lease: Lease, now_ms: int) -> bool:
        held = self.held
        if held is not None and held.holder != lease.holder and held.until_ms > now_ms:
            return False
        self.held = lease
        return True

    async def drop_lease(self, name: str, holder: str) -> bool:
        if self.held is None or (self.held.name, self.held.holder) != (name, holder):
            return False
        self.held = None
        return True


@dataclass
class Scene:
    book: Book = field(default_factory=Book)
    probe: Probe = field(default_factory=Probe)
    leases: Leases = field(default_factory=Leases)
    clock: FakeClock = field(default_factory=FakeClock)

    def checks(self, worker_id: str = "w1", settings: CheckSettings | None = None) -> AgentChecks:
        ports = CheckPorts(self.book, self.probe, self.leases, self.clock)  # type: ignore[arg-type] # of the lease book only these are used
        return AgentChecks(ports, worker_id, settings)


async def test_an_agent_that_hangs_keeps_no_other_from_its_turn() -> None:
    scene = Scene()
    looking = asyncio.create_task(scene.checks().look())

    async with asyncio.timeout(5):
        while len(scene.book.found) < 2:
            await asyncio.sleep(0)
    assert not looking.done()
    scene.probe.gate.set()

    assert await looking == 3
    assert set(scene.book.found) == {"a", "b", "c"}


async def test_one_worker_checks_until_its_lease_is_over() -> None:
    scene = Scene(Book(("a",)))
    first, second = scene.checks("w1"), scene.checks("w2")

    assert (await first.look(), await second.look(), await first.look()) == (1, 0, 1)

    scene.clock.now += 45_000
    assert await second.look() == 1


async def test_a_worker_that_stops_leaves_the_checks_to_another_at_once() -> None:
    scene = Scene(Book(("a",)))
    first, second = scene.checks("w1"), scene.checks("w2")
    await first.look()
    assert scene.leases.held is not None
    assert scene.leases.held.name == AGENT_CHECKS

    await first.drop()

    assert await second.look() == 1


async def test_a_store_that_is_away_ends_no_loop() -> None:
    scene = Scene(Book(("a",), trouble=StoreUnavailableError("away")))
    checks = scene.checks()

    assert await checks.look() == 0
    scene.book.trouble = RuntimeError("odd")
    assert await checks.look() == 0
    scene.book.trouble, scene.book.forgets = None, "a"
    assert await checks.look() == 1
    assert scene.book.found == {}


async def test_the_loop_goes_round_until_it_is_cancelled() -> None:
    scene = Scene(Book(("a",)))
    loop = asyncio.create_task(scene.checks("w1", CheckSettings(every_seconds=0.001)).run_forever())

    async with asyncio.timeout(5):
        while len(scene.probe.asked) < 3:
            await asyncio.sleep(0.001)
    loop.cancel()
    await asyncio.wait({loop})

    assert loop.cancelled()
