"""Faults 9, 10 and 11: a crash between two writes, and the API killed in a POST."""

import asyncio
import random
from typing import Any

import pytest

from tests.faults.report import record
from tests.rig.roles import was_killed
from tests.rig.waiting import until
from tests.rig.world import World

pytestmark = pytest.mark.timeout(300)
"""Ten processes each, on cores that others may use as well; alone, a test takes seconds."""


# ------------------------------------------------------------------ 9, 10: between two writes


async def test_a_crash_between_the_store_and_the_start(world: World) -> None:
    """Fault 9: the row is there, the workflow is not; it is started once, under the same id."""
    api = await world.api()
    await world.agent()
    api.terminate()
    api = await world.api(ORCHESTRATOR_CRASH_POINT="accept:after")
    asking = asyncio.create_task(world.start("say once", key="the-key"))
    assert was_killed(await api.died())
    (row,) = (await world.books()).runs
    assert row["state"] == "CREATED"

    await world.worker()
    await until("it ended without an API", lambda: world.state_is(row["run_id"], "DONE"))
    await world.api()

    assert await asking == row["run_id"]
    books = await world.check()
    assert len(books.runs) == 1
    assert books.answer(row["run_id"]) == "[offline] once"


async def test_a_crash_around_the_terminal_write(world: World) -> None:
    """Fault 10: the terminal event and row are written once."""
    api, worker = (
        world.spawn("api"),
        world.spawn("worker", ORCHESTRATOR_CRASH_POINT="finalize:before"),
    )
    await world.serving(api, worker)
    await world.agent()
    run_id = await world.start("say the end")
    viewer = world.watch(run_id)

    assert was_killed(await worker.died())
    assert not await world.state_is(run_id, "DONE")
    worker = await world.worker(ORCHESTRATOR_CRASH_POINT="finalize:after")
    assert was_killed(await worker.died())
    assert await world.state_is(run_id, "DONE")
    await world.worker()

    assert await viewer.ends() == "run_done"
    books = await world.check()
    assert books.kinds(run_id).count("run_done") == 1


# ------------------------------------------------------------------ 11: the API killed in a POST


async def api_killed_in_a_post(world: World, rng: random.Random, points: int) -> int:
    """Kill the API at some moment of a burst of POSTs, so many times; return the inputs."""
    api, _ = await world.apart()
    await world.agent()
    sent = 0
    for point in range(points):
        burst = [
            asyncio.create_task(world.start(f"say {point}.{n}", key=f"key-{point}-{n}"))
            for n in range(4)
        ]
        seeds = asyncio.create_task(seed_b(world, f"say {point}.b", f"key-{point}-b"))
        # The moment is the fault, not a synchronisation.
        await asyncio.sleep(rng.uniform(0.0, 0.03))
        api.kill()
        api = await world.api()
        sent += len(await asyncio.gather(*burst, seeds))
    return sent


async def seed_b(world: World, content: str, key: str) -> str:
    """Start a run the way of seed B."""
    body: dict[str, Any] = {
        "session_id": f"s-{key}",
        "agent_id": "helper",
        "input_message": {"role": "user", "content": content},
        "request_id": key,
    }
    world.accepted.setdefault(key, set())
    run_id = str((await world.send("POST", "/internal/invoke", body))["run_id"])
    world.accepted[key].add(run_id)
    return run_id


async def every_repeat_is_the_same(world: World) -> None:
    """Asked again, each key answers with its run; with another body it is refused."""
    for key, ids in list(world.accepted.items()):
        if key.endswith("b"):
            continue
        _, point, n = key.split("-")
        assert {await world.start(f"say {point}.{n}", key=key)} == ids
        other = await world.http.post(
            f"{world.url}/v1/runs",
            json={"input": "something else", "agent_id": "helper"},
            headers={"idempotency-key": key},
        )
        assert other.status_code == 409


async def test_the_api_killed_in_a_post(world: World, seed: int) -> None:
    """Fault 11: repeated with the same key, one run; the same key for another body is refused."""
    sent = await api_killed_in_a_post(world, random.Random(seed), points=2)

    await every_repeat_is_the_same(world)
    books = await world.check()

    assert len(books.runs) == sent == 10
    assert {run["state"] for run in books.runs} == {"DONE"}


@pytest.mark.heavy
@pytest.mark.timeout(600)
async def test_the_api_killed_at_twenty_points(world: World, seed: int) -> None:
    sent = await api_killed_in_a_post(world, random.Random(seed), points=20)
    await every_repeat_is_the_same(world)
    books = await world.check()
    assert len(books.runs) == sent == 100
    record("api_killed_in_a_post", seed, runs=sent)
