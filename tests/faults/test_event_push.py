"""The event push under faults: a receiver that refuses, hangs or is away, and a worker killed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.rig.waiting import until
from tests.rig.world import World
from tests.stub.http import StubServer
from tests.stub.ingress import StubIngress

pytestmark = pytest.mark.timeout(120)
Receiver = tuple[StubIngress, StubServer]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    stub = StubIngress()
    async with stub.serve() as server:
        yield stub, server


async def logs(world: World) -> dict[str, list[str]]:
    """Return the event ids of every run, in order, from the store."""
    books = await world.books()
    return {
        run["run_id"]: [event["event_id"] for event in books.envelopes(run["run_id"])]
        for run in books.runs
    }


async def pushed(world: World, stub: StubIngress, *run_ids: str) -> None:
    """Wait until runs are pushed to their ends, then compare with the store."""
    await until("all is pushed", lambda: all(stub.has_all(run_id) for run_id in run_ids))
    log = await logs(world)
    for run_id in run_ids:
        assert [event["event_id"] for event in stub.once(run_id)] == log[run_id]


def repeats(stub: StubIngress, run_id: str) -> int:
    """Return how many events of a run were taken more than once."""
    return len(stub.taken[run_id]) - len(stub.once(run_id))


async def test_what_a_receiver_refuses_or_leaves_hanging_comes_later_in_order(
    world: World, receiver: Receiver
) -> None:
    stub, server = receiver
    stub.status = 503
    await world.up(INGRESS_URL=server.url)
    await world.agent()
    first = await world.start("say one two three")
    await world.ended(first)
    await until("it was refused", lambda: len(stub.arrivals) >= 2)
    assert len(set(stub.arrivals)) == 1, "nothing overtakes what was refused"
    # One run of its own is refused for good: it blocks no other.
    stub.status, stub.refuses = 200, {first}
    others = [await world.start("say four five") for _ in range(5)]
    await pushed(world, stub, *others)
    assert first not in stub.taken
    told = (await world.http.get(f"{world.url}/metrics")).text
    assert "orchestrator_ingress_runs_failing 1.0" in told

    stub.refuses = set()
    await pushed(world, stub, first)

    assert [repeats(stub, run_id) for run_id in (first, *others)] == [0] * 6
    assert stub.sessions[first] == (await world.run(first))["session_id"]
    await world.check()


async def test_a_receiver_that_was_away_loses_nothing(world: World) -> None:
    stub = StubIngress()
    async with stub.serve() as server:
        port = int(server.url.rpartition(":")[2])
        await world.up(INGRESS_URL=server.url)
        await world.agent()
        before = await world.start("tokens=60 gap_ms=20")
        await until("some is pushed", lambda: len(stub.taken.get(before, [])) > 3)
    meanwhile = [await world.start("say hello") for _ in range(5)]
    for run_id in (before, *meanwhile):
        await world.ended(run_id)
    lag: dict[str, Any] = await world.get("/health")
    assert lag["checks"]["ingress"]["ok"], "a minute of patience"

    async with stub.serve(port):
        await pushed(world, stub, before, *meanwhile)

    assert sum(repeats(stub, run_id) for run_id in (before, *meanwhile)) <= 1
    await world.check()


async def test_a_worker_killed_in_the_middle_repeats_the_event_in_flight(
    world: World, receiver: Receiver
) -> None:
    stub, server = receiver
    stub.waits = True
    await world.api()
    worker = await world.worker(INGRESS_URL=server.url)
    await world.agent()
    run_id = await world.start("say hello you")
    await world.ended(run_id)
    await until("one event is in flight", lambda: len(stub.arrivals) == 1)

    worker.kill()
    stub.go.set()
    stub.waits = False
    await world.worker(INGRESS_URL=server.url)

    await pushed(world, stub, run_id)
    assert repeats(stub, run_id) == 1
    assert stub.arrivals[0] == stub.arrivals[1]
    await world.check()


@pytest.mark.heavy
async def test_a_worker_that_freezes_leaves_the_pushing_to_another(
    world: World, receiver: Receiver
) -> None:
    """It comes back when its lease is another's: what it still sends is a repeat, or nothing."""
    stub, server = receiver
    await world.api()
    frozen = await world.worker(INGRESS_URL=server.url)
    await world.agent()
    first = await world.start("tokens=400 gap_ms=20")
    await until("some is pushed", lambda: len(stub.taken.get(first, [])) > 3)

    frozen.freeze()
    await world.worker(INGRESS_URL=server.url)
    second = await world.start("say hello")
    await pushed(world, stub, second)
    frozen.thaw()

    await pushed(world, stub, first)
    third = await world.start("say more")
    await pushed(world, stub, third)
    assert sum(repeats(stub, run_id) for run_id in (first, second, third)) <= 1
    await world.check()
