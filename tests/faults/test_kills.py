"""Faults 1, 2, 3, 5, 6, 8, 9, 10, 11: processes and servers killed, frozen, taken away."""

import asyncio
import json
import random
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.faults.check import Books
from tests.faults.conftest import sse_words
from tests.faults.report import record
from tests.rig.temporal import TemporalServer
from tests.rig.world import Role, Viewer, World, until, was_killed
from tests.stub.ledger import Ledger

pytestmark = pytest.mark.timeout(300)
"""Ten processes each, on cores that others may use as well; alone, a test takes seconds."""
WORDS = 60
LedgerAt = tuple[Ledger, str]
TAKEN_OVER_SECONDS = 4.0
"""From a kill to the next token, when another worker is there."""


def expected(words: int) -> str:
    return "[offline] " + " ".join(f"t{at}" for at in range(words))


def answer(books: Books, run_id: str) -> str:
    return str(json.loads(books.run(run_id)["output"])["content"])


def attempts(books: Books, run_id: str, step_id: str = "llm-1-1") -> int:
    (step,) = [
        row for row in books.tables["steps"] if (row["run_id"], row["step_id"]) == (run_id, step_id)
    ]
    return int(step["attempt"])


async def release(url: str) -> None:
    async with httpx2.AsyncClient() as http:
        await http.post(f"{url}/release")


async def tokens_on(viewers: list[Viewer], more: int = 1) -> None:
    """Wait until each viewer has seen so many tokens more than now."""
    targets = [(viewer, viewer.count("agent_stream_delta") + more) for viewer in viewers]
    await asyncio.gather(*(viewer.sees("agent_stream_delta", n) for viewer, n in targets))


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
    assert answer(books, run_id) == expected(WORDS)


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
    assert answer(await world.check(), run_id) == expected(60)


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
    assert answer(books, run_id) == expected(60)


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
        assert answer(books, run_id) == expected(40)
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


# ------------------------------------------------------------------ 5, 6: the server goes away


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    """A Temporal server that no other test uses."""
    server = TemporalServer(tmp_path).start()
    yield server
    server.close()


async def server_away(world: World, server: TemporalServer, away_seconds: float) -> list[str]:
    """Kill the server under load, accept runs meanwhile, start it again on its file."""
    await world.apart()
    await world.agent()
    streaming = await world.start(sse_words(30))
    viewer = world.watch(streaming)
    await viewer.sees("agent_stream_delta", 5)

    server.child.kill()
    killed = time.monotonic()
    accepted = [await world.start(f"say number {number}") for number in range(5)]
    for run_id in accepted:
        assert (await world.run(run_id))["state"] == "CREATED"
    assert (await world.get("/health"))["status"] == "degraded"
    assert (await world.get("/livez"))["status"] == "ok"
    await until("it was away long enough", lambda: time.monotonic() - killed >= away_seconds, 60)
    server.start()

    for number, run_id in enumerate(accepted):
        ended = await world.ended(run_id, 60)
        assert ended["output"]["content"] == f"[offline] number {number}"
    assert await viewer.ends(60) == "run_done"
    return accepted


async def test_the_server_killed_and_started_again(
    own_server: TemporalServer, tmp_path: Path
) -> None:
    """Fault 5: runs are accepted all the while and start once it is back."""
    async with World(tmp_path / "world", own_server.address) as world:
        accepted = await server_away(world, own_server, 0)
        books = await world.check()
    assert len(books.runs) == len(accepted) + 1
    assert all(books.kinds(run_id).count("run_started") == 1 for run_id in books.logs)


@pytest.mark.heavy
@pytest.mark.timeout(300)
async def test_the_server_away_for_half_a_minute(
    own_server: TemporalServer, tmp_path: Path, seed: int
) -> None:
    async with World(tmp_path / "world", own_server.address) as world:
        accepted = await server_away(world, own_server, 30)
        await world.check()
    record("server_away", seed, accepted=len(accepted))


async def test_the_servers_file_deleted(tmp_path: Path, ledger: LedgerAt) -> None:
    """Fault 6: what was in flight ends FAILED once, its events stay, and new work goes on."""
    async with World(tmp_path / "world") as world:
        up = await world.up()
        await world.agent()
        done = await world.start("say kept")
        await world.ended(done)
        lost = await world.start("tokens=5 hang_after=3", session_id="s")
        queued = await world.start("say never", session_id="s")
        viewer = world.watch(lost)
        await viewer.sees("agent_stream_delta")
        waiting = world.watch(queued)
        await waiting.sees("run_waiting")

        up.kill()
        files = list((world.folder / "up").glob("temporal.db*"))
        assert files
        for file in files:
            file.unlink()
        kept = (await world.books()).kinds(lost)
        await world.up()

        for run_id in (lost, queued):
            ended = await world.ended(run_id)
            assert (ended["state"], ended["error"]["code"]) == ("FAILED", "engine_state_lost")
        fresh = await world.start("say new")
        assert (await world.ended(fresh))["state"] == "DONE"
        assert await viewer.ends() == "run_failed"
        books = await world.check(lost=(done, lost, queued))
        assert viewer.count("agent_stream_delta") >= 1
        assert books.kinds(lost)[: len(kept)] == kept
        assert books.kinds(lost).count("run_failed") == 1
        assert answer(books, done) == "[offline] kept"
        asked = [row for row in books.tables["messages"] if row["run_id"] == lost]
        assert asked[0]["role"] == "user"


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
    assert answer(books, streaming) == expected(150)
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
    assert answer(books, row["run_id"]) == "[offline] once"


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
