"""Faults 1 and 2: a worker killed in mid-stream, or after the effect of a tool."""

import json
import random
import time
from pathlib import Path

import pytest

from tests.faults.books import Books
from tests.faults.conftest import LedgerAt, sse_words
from tests.faults.kill_scenes import attempts, expected, release
from tests.faults.report import record
from tests.rig.roles import Role
from tests.rig.waiting import until
from tests.rig.world import World

pytestmark = pytest.mark.timeout(300)
"""Ten processes each, on cores that others may use as well; alone, a test takes seconds."""
WORDS = 60
TAKEN_OVER_SECONDS = 4.0
"""From a kill to the next token, when another worker is there."""


# ------------------------------------------------------------------ 1: killed in mid-stream


async def kill_in_mid_stream(world: World, worker: Role, at: int) -> tuple[str, Role]:
    """Kill the worker at the `at`-th token, well before the last; return the run and the next."""
    run_id = await world.start(sse_words(WORDS))
    viewer = world.watch(run_id)
    await viewer.sees("agent_stream_delta", at)

    worker.kill()
    following = await world.worker()
    await viewer.sees("agent_stream_delta", attempt=2)

    assert await viewer.ends() == "run_done"
    assert viewer.count("agent_stream_reset", attempt=2) == 1
    return run_id, following


def both_attempts_are_billed(books: Books, run_id: str) -> None:
    billed = [row for row in books.tables["usage"] if row["run_id"] == run_id]
    assert sorted((row["attempt"], row["estimated"]) for row in billed) == [(1, 1), (2, 0)]
    assert all(row["output_tokens"] > 0 for row in billed)
    assert books.answer(run_id) == expected(WORDS)


async def test_a_worker_killed_in_mid_stream(world: World, seed: int) -> None:
    """Fault 1: the stream starts over and ends whole; both attempts are on the ledger."""
    _, (worker,) = await world.apart()
    await world.agent()

    run_id, _ = await kill_in_mid_stream(world, worker, random.Random(seed).randrange(1, 39))

    both_attempts_are_billed(await world.check(), run_id)


@pytest.mark.heavy
@pytest.mark.timeout(900)
async def test_a_worker_killed_after_each_token(world: World, seed: int) -> None:
    _, (worker,) = await world.apart()
    await world.agent()
    runs = []
    for at in range(1, 40):
        run_id, worker = await kill_in_mid_stream(world, worker, at)
        runs.append(run_id)

    books = await world.check()

    for run_id in runs:
        both_attempts_are_billed(books, run_id)
    record("killed_after_each_token", seed, runs=len(runs))


async def test_one_of_two_workers_killed_and_none_restarted(world: World) -> None:
    _, workers = await world.apart(workers=2)
    await world.agent()
    run_id = await world.start(sse_words(60))
    viewer = world.watch(run_id)
    await viewer.sees("agent_stream_delta", 5)
    busy = await worker_of(world, run_id, workers)

    busy.kill()
    killed = time.monotonic()
    await viewer.sees("agent_stream_delta", attempt=2, seconds=20)
    waited = time.monotonic() - killed

    print(f"next token after {waited:.2f} s")
    assert waited <= TAKEN_OVER_SECONDS
    assert await viewer.ends() == "run_done"
    assert (await world.check()).answer(run_id) == expected(60)


async def worker_of(world: World, run_id: str, workers: list[Role]) -> Role:
    """Return the process that has a run's step open."""
    found: list[Role] = []

    async def is_known() -> bool:
        pid = await world.pid_of_step(run_id)
        found[:] = [worker for worker in workers if worker.pid == pid]
        return bool(found)

    await until(f"somebody works on {run_id}", is_known)
    return found[0]


async def test_a_viewer_that_comes_back_across_both_kills(world: World) -> None:
    """Worker, then API, in mid-stream: every seq once, the last attempt's text is the answer."""
    api, (worker,) = await world.apart()
    await world.agent()
    run_id = await world.start(sse_words(60))
    viewer = world.watch(run_id)
    await viewer.sees("agent_stream_delta", 10)

    worker.kill()
    await world.worker()
    await viewer.sees("agent_stream_delta", attempt=2)
    api.kill()
    seen = len(viewer.events)
    await world.api()

    assert await viewer.ends() == "run_done"
    assert len(viewer.events) > seen
    assert len([ids for ids in viewer.connections if ids]) == 2
    books = await world.check()
    assert [event["seq"] for event in viewer.events] == list(range(1, len(viewer.events) + 1))
    assert books.answer(run_id) == expected(60)


async def test_everything_killed_in_mid_stream(tmp_path: Path) -> None:
    """`orchestrator up` with its own server dies whole and goes on where it was."""
    async with World(tmp_path / "world") as world:
        first = await world.up()
        await world.agent()
        before = await world.start("say one")
        await world.ended(before)
        run_id = await world.start(sse_words(40))
        viewer = world.watch(run_id)
        await viewer.sees("agent_stream_delta", 10)

        first.kill()
        await world.up()

        assert await viewer.ends() == "run_done"
        books = await world.check()
        assert books.answer(run_id) == expected(40)
        assert attempts(books, before) == 1
        assert attempts(books, run_id) == 2


# ------------------------------------------------------------------ 2: killed after the effect


async def test_a_worker_killed_after_the_side_effect(world: World, ledger: LedgerAt) -> None:
    """Fault 2: a keyed tool runs again with its key; an unsafe one waits for a person."""
    books_of_bank, url = ledger
    _, (worker,) = await world.apart()
    await world.agent(tools=("charge_keyed", "charge_unsafe"))
    books_of_bank.holds.add("*")
    args = json.dumps({"url": url})
    keyed = await world.start(f"call charge_keyed {args}\n---\nsay paid {{result}}")
    unsafe = await world.start(f"call charge_unsafe {args}\n---\nsay paid {{result}}")
    await until("both charges arrived", lambda: books_of_bank.held == 2)

    worker.kill()
    await release(url)
    await world.worker()
    assert (await world.ended(keyed))["output"]["content"] == "[offline] paid 2"
    parked = world.watch(unsafe)
    await parked.sees("outcome_unknown")
    await parked.sees("run_waiting")

    books = await world.check(effects=books_of_bank)
    run = books.run(unsafe)
    assert (run["state"], run["waiting_on"]) == ("RUNNING", "approval")
    assert {e.tool: e.arrivals for e in books_of_bank.effects.values()} == {
        "charge_keyed": 2,
        "charge_unsafe": 1,
    }

    (call,) = (await world.get("/v1/tool_calls?status=outcome_unknown"))["tool_calls"]
    body = {"outcome": "happened", "result": "by hand"}
    await world.send("POST", f"/v1/tool_calls/{call['tool_call_id']}/resolve", body)
    assert (await world.ended(unsafe))["output"]["content"] == "[offline] paid by hand"
    await world.check(effects=books_of_bank)
