"""Faults 3 and 8: no worker for a while, or one that is frozen and comes back."""

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.conftest import LedgerAt, sse_words
from tests.faults.kill_scenes import attempts, expected, release, tokens_on
from tests.faults.report import record
from tests.rig.roles import Role
from tests.rig.temporal import TemporalServer
from tests.rig.viewer import Viewer
from tests.rig.waiting import until
from tests.rig.world import World

pytestmark = pytest.mark.timeout(300)
"""Ten processes each, on cores that others may use as well; alone, a test takes seconds."""


# ------------------------------------------------------------------ 3: no worker for a while


async def all_workers_dead(world: World, runs: int, pings: int) -> list[Viewer]:
    """Kill both workers under load, count pings meanwhile, start two others."""
    _, workers = await world.apart(workers=2)
    await world.agent()
    ids = await asyncio.gather(*(world.start(sse_words(150)) for _ in range(runs)))
    viewers = [world.watch(run_id) for run_id in ids]
    await tokens_on(viewers)

    for worker in workers:
        worker.kill()
    queued = await world.start("say later")
    before = [viewer.comments for viewer in viewers]
    await until(
        "every stream got its pings",
        lambda: all(v.comments >= b + pings for v, b in zip(viewers, before, strict=True)),
        pings * 20.0,
    )
    assert not any(viewer.saw_end for viewer in viewers)
    assert (await world.run(queued))["state"] == "CREATED"
    assert (await world.get("/health"))["status"] == "degraded"

    following = [world.spawn("worker"), world.spawn("worker")]
    for worker in following:
        await worker.serves()
    ends = await asyncio.gather(*(viewer.ends(60) for viewer in viewers))
    assert set(ends) == {"run_done"}
    assert (await world.ended(queued))["state"] == "DONE"
    return viewers


async def test_all_workers_dead_for_a_while(world: World) -> None:
    """Fault 3: nothing fails for that reason; the API answers and streams keep their pings."""
    viewers = await all_workers_dead(world, runs=10, pings=3)

    books = await world.check()

    assert len(books.runs) == len(viewers) + 1
    assert {run["state"] for run in books.runs} == {"DONE"}


@pytest.mark.heavy
@pytest.mark.timeout(400)
async def test_all_workers_dead_for_a_minute(
    temporal: TemporalServer, tmp_path: Path, seed: int
) -> None:
    slow = {"ORCHESTRATOR_PING_SECONDS": "15", "ORCHESTRATOR_LEASE_SECONDS": "2"}
    async with World(tmp_path / "world", temporal.address, settings=slow) as world:
        viewers = await all_workers_dead(world, runs=50, pings=4)
        books = await world.check()
    assert {run["state"] for run in books.runs} == {"DONE"}
    record("all_workers_dead", seed, runs=len(viewers))


# ------------------------------------------------------------------ 8: frozen, not dead


async def frozen_worker(world: World, ledger: LedgerAt, frozen_seconds: float) -> None:
    """Freeze the worker that works, let another take over, thaw it in the middle of that."""
    books_of_bank, url = ledger
    _, (first,) = await world.apart()
    await world.agent(tools=("charge_keyed", "charge_unsafe"))
    streaming = await world.start(sse_words(150))
    viewer = world.watch(streaming)
    books_of_bank.holds.add("*")
    args = json.dumps({"url": url})
    keyed = await world.start(f"call charge_keyed {args}\n---\nsay {{result}}")
    unsafe = await world.start(f"call charge_unsafe {args}\n---\nsay {{result}}")
    await until("both charges arrived", lambda: books_of_bank.held == 2)
    await viewer.sees("agent_stream_delta", 5)

    await freeze_between_writes(world, first)
    stopped = time.monotonic()
    await release(url)
    await world.worker()
    await viewer.sees("agent_stream_delta", 5, attempt=2)

    await taken_over(world, keyed, unsafe)
    await until("it was frozen long enough", lambda: time.monotonic() - stopped >= frozen_seconds)
    first.thaw()

    assert await viewer.ends() == "run_done"
    assert (await world.ended(keyed))["state"] == "DONE"
    parked = world.watch(unsafe)
    await parked.sees("run_waiting")
    books = await world.check(effects=books_of_bank)
    assert books.answer(streaming) == expected(150)
    assert attempts(books, streaming) == attempts(books, keyed, "tool-1-0") == 2
    assert books.run(unsafe)["waiting_on"] == "approval"
    # What was thawed is a worker again, and its old attempts changed nothing.
    assert first.is_running


async def freeze_between_writes(world: World, role: Role) -> None:
    """Freeze a process that does not hold SQLite's lock just then: fault 12 is another one."""

    def is_free() -> bool:
        role.freeze()
        try:
            with closing(sqlite3.connect(world.store, timeout=0, isolation_level=None)) as probe:
                probe.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            role.thaw()
            return False
        return True

    await until("the worker stands still outside a write", is_free)


async def taken_over(world: World, keyed: str, unsafe: str) -> None:
    """Wait until both charges are another worker's.

    That may take a heartbeat: a frozen worker still holds polls open, and gets work through them.
    """

    async def is_done() -> bool:
        books = await world.books()
        was_seen = "outcome_unknown" in books.kinds(unsafe)
        return was_seen and attempts(books, keyed, "tool-1-0") == 2

    await until("every step has its second attempt", is_done)


async def test_a_worker_frozen_past_its_heartbeat(world: World, ledger: LedgerAt) -> None:
    """Fault 8: the second attempt owns the step; late words of the first are refused."""
    await frozen_worker(world, ledger, 0)


@pytest.mark.heavy
@pytest.mark.timeout(300)
async def test_a_worker_frozen_for_a_minute(world: World, ledger: LedgerAt, seed: int) -> None:
    await frozen_worker(world, ledger, 60)
    record("frozen_worker", seed, seconds=60)
