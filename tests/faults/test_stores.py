"""Faults 12 to 14: the SQLite file is locked, its disk is full, PostgreSQL goes away."""

import asyncio
import contextlib
import os
import random
import sqlite3
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from tests.contract.store_engines import PostgresServer
from tests.faults.books import sqlite_integrity
from tests.faults.conftest import sse_words
from tests.faults.report import record
from tests.rig.temporal import TemporalServer
from tests.rig.waiting import until
from tests.rig.world import World

BUSY = "SQLITE_BUSY"
MOST_OPEN = 20


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock of a SQLite file, from this process."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


async def post(world: World, content: str, key: str) -> httpx2.Response:
    """Ask for a run once, without the patience of `World.start`."""
    world.accepted.setdefault(key, set())
    body = {"input": content, "agent_id": "helper"}
    answer = await world.http.post(
        f"{world.url}/v1/runs", json=body, headers={"idempotency-key": key}
    )
    if answer.is_success:
        world.accepted[key].add(answer.json()["run_id"])
    return answer


def refused(answer: httpx2.Response, status: int, code: str) -> bool:
    """Whether an answer is the refusal that is promised while nothing can be written."""
    said = (answer.status_code, answer.headers["content-type"], answer.json()["code"])
    assert said == (status, "application/problem+json", code), answer.text
    return True


# ------------------------------------------------------------------ 12: locked


async def lock_under_load(world: World, seconds: float) -> tuple[list[httpx2.Response], float]:
    """Lock the store while a run streams and others are asked for; return the answers."""
    path = Path(world.store)
    streaming = world.watch(await world.start(sse_words(60)))
    await streaming.sees("agent_stream_delta", 3)
    with locked(path):
        asked = time.monotonic()
        posts = [asyncio.create_task(post(world, f"say late {n}", f"key-{n}")) for n in range(5)]
        await asyncio.sleep(seconds)
        read = await world.http.get(f"{world.url}/v1/runs")
        assert read.status_code == 200, "reads go on beside a writer"
    answers = await asyncio.gather(*posts)
    took = time.monotonic() - asked
    assert await streaming.ends() == "run_done"
    return answers, took


async def short_lock(world: World, seconds: float) -> None:
    await world.apart()
    await world.agent()

    answers, _ = await lock_under_load(world, seconds)

    assert [answer.status_code for answer in answers] == [202] * 5
    books = await world.check()
    assert len(books.runs) == 6
    assert {row["state"] for row in books.runs} == {"DONE"}
    assert {row["attempt"] for row in books.tables["steps"]} == {1}, "nobody noticed"
    logs = "".join(path.read_text() for path in world.folder.glob("*.log"))
    assert BUSY not in logs
    assert "locked" not in logs


async def long_lock(world: World, seconds: float, busy_seconds: float) -> None:
    # In turn: processes that start together wait for each other's writes.
    await world.api()
    await world.worker()
    await world.agent()

    answers, took = await lock_under_load(world, seconds)

    assert all(refused(answer, 503, "store_unavailable") for answer in answers)
    assert all("retry-after" in answer.headers for answer in answers)
    assert took < seconds + busy_seconds + 5
    for number in range(5):
        assert (await post(world, f"say late {number}", f"key-{number}")).status_code == 202
    books = await world.check()
    assert len(books.runs) == 6, "what was refused left nothing behind"
    assert {row["state"] for row in books.runs} == {"DONE"}


async def test_a_short_lock_is_invisible(world: World) -> None:
    """Fault 12, 3 s at full length: shorter than a write waits."""
    world.settings = {"ORCHESTRATOR_BUSY_SECONDS": "5"}

    await short_lock(world, 1.0)


async def test_a_long_lock_is_refused_in_words(world: World) -> None:
    """Fault 12, 30 s at full length: longer than a write waits."""
    world.settings = {"ORCHESTRATOR_BUSY_SECONDS": "1"}

    await long_lock(world, 3.0, 1.0)


@pytest.mark.heavy
async def test_a_lock_of_three_seconds_at_the_products_own_patience(world: World) -> None:
    await short_lock(world, 3.0)


@pytest.mark.heavy
async def test_a_lock_of_thirty_seconds_at_the_products_own_patience(world: World) -> None:
    await long_lock(world, 30.0, 10.0)


# ------------------------------------------------------------------ 13: full


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount 8 MiB of memory; needs to be allowed to."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(b"x" * 4096)
    assert os.statvfs(disk).f_bavail == 0
    return filler


async def test_a_full_disk_is_refused_in_words_and_survived(
    temporal: TemporalServer, tmp_path: Path, small_disk: Path
) -> None:
    """Fault 13: writes are refused with a name, reads go on, and space is all that is needed."""
    store = small_disk / "store.db"
    async with World(tmp_path / "world", temporal.address, str(store)) as world:
        api, (worker,) = await world.apart()
        await world.agent()
        before = await world.ended(await world.start("say before"))
        viewer = world.watch(await world.start(sse_words(100)))
        await viewer.sees("agent_stream_delta", 3)

        filler = fill(small_disk)
        answers = [await post(world, "say " + "more " * 2000, f"full-{n}") for n in range(3)]
        read = await world.http.get(f"{world.url}/v1/runs/{before['run_id']}")
        health = (await world.http.get(f"{world.url}/health")).status_code
        filler.unlink()

        assert refused(answers[-1], 507, "store_full")
        assert (read.status_code, read.json()["state"]) == (200, "DONE")
        assert health == 200
        assert await viewer.ends() == "run_done"
        assert api.is_running
        assert worker.is_running, "nothing was restarted"
        after = await world.ended(await world.start("say after"))
        assert after["state"] == "DONE"
        await world.check(sqlite_integrity(store))


# ------------------------------------------------------------------ 14: PostgreSQL


class Restarting(PostgresServer):
    """A PostgreSQL server that can be stopped and started on the same files."""

    def restart(self) -> None:
        """Stop at once, cutting every connection, and start again."""
        self._server.stop()
        self._server.start()


@pytest.fixture(scope="module")
def postgres() -> Iterator[Restarting]:
    server = Restarting()
    yield server
    server.stop()


@pytest.fixture
async def on_postgres(
    postgres: Restarting, temporal: TemporalServer, tmp_path: Path
) -> AsyncIterator[World]:
    url = postgres.url(await postgres.new_database()).url
    settings = {"ORCHESTRATOR_POOL_SIZE": "5"}
    async with World(tmp_path / "world", temporal.address, url, settings) as made:
        yield made


async def restart_under_load(
    world: World, postgres: Restarting, seed: int, restarts: int, pause: tuple[float, float]
) -> None:
    """Restart PostgreSQL now and then while runs are asked for, work and are watched."""
    chance = random.Random(seed)
    await world.apart(workers=2)
    await world.agent(tools=("calculator",))
    call = 'call calculator {"expression": "6*7"}'
    runs: list[str] = []
    stopping = asyncio.Event()

    async def ask() -> None:
        number = 0
        while not stopping.is_set():
            number += 1
            script = f"{call}\n---\n{sse_words(15, gap_ms=10)}"
            run_id = await world.start(script, key=f"pg-{number}", session_id=f"s{number % 4}")
            runs.append(run_id)
            world.watch(run_id)
            if number > MOST_OPEN:  # as many as a slow machine can do
                await world.viewers[-MOST_OPEN].ends()
            await asyncio.sleep(0.05)

    asking = asyncio.create_task(ask())
    for _ in range(restarts):
        await asyncio.sleep(chance.uniform(*pause))
        await asyncio.to_thread(postgres.restart)
    await asyncio.sleep(pause[0])
    # How many come in between is the machine's business; that it is not few is not.
    await until("enough was asked for", lambda: asking.done() or len(runs) >= 5 * restarts)
    stopping.set()
    await asking

    books = await world.check(seconds=60)
    assert len(books.runs) == len(runs) >= 5 * restarts, f"seed {seed}"
    assert {row["state"] for row in books.runs} == {"DONE"}, f"seed {seed}"
    for viewer in world.viewers:
        assert await viewer.ends() == "run_done"


async def test_postgres_restarts_under_load(
    on_postgres: World, postgres: Restarting, seed: int
) -> None:
    """Fault 14, first half: no run and no event is lost, and nobody is restarted."""
    await restart_under_load(on_postgres, postgres, seed, restarts=1, pause=(0.5, 1.0))


@pytest.mark.heavy
@pytest.mark.timeout(600)
async def test_postgres_restarts_for_minutes(
    on_postgres: World, postgres: Restarting, seed: int
) -> None:
    await restart_under_load(on_postgres, postgres, seed, restarts=8, pause=(5.0, 40.0))


async def open_connections(postgres: Restarting, database: str) -> int:
    connection: Any = await asyncpg.connect(
        host=postgres.socket_folder, user="postgres", database="postgres"
    )
    try:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1"
        return int(await connection.fetchval(sql, database))
    finally:
        await connection.close()


async def test_two_hundred_open_streams_hold_no_connection(
    on_postgres: World, postgres: Restarting
) -> None:
    """Fault 14, second half: with a pool of 5, plain requests are answered all the same."""
    await streams_and_plain_requests(on_postgres, postgres)


@pytest.mark.heavy
async def test_two_hundred_open_streams_slow_no_plain_request(
    on_postgres: World, postgres: Restarting, seed: int
) -> None:
    slowest = await streams_and_plain_requests(on_postgres, postgres)

    record("open-streams", seed, slowest_request_seconds=slowest)
    assert slowest < 1.0


async def streams_and_plain_requests(world: World, postgres: Restarting) -> float:
    """Open the streams, ask plainly meanwhile; return how long the slowest answer took."""
    await world.apart()
    await world.agent()
    run_id = await world.start("stall")
    database = world.store.partition("?")[0].rpartition("/")[2]
    before = await open_connections(postgres, database)

    viewers = [world.watch(run_id) for _ in range(200)]
    for viewer in viewers:
        await viewer.sees("llm_call_started")
    slowest = 0.0
    for _ in range(20):
        asked = time.monotonic()
        assert (await world.run(run_id))["state"] == "RUNNING"
        slowest = max(slowest, time.monotonic() - asked)
    during = await open_connections(postgres, database)
    await world.send("POST", f"/v1/runs/{run_id}/cancel", {})

    assert during <= before + 10, f"{before} connections before the streams, {during} with them"
    for viewer in viewers:
        assert await viewer.ends() == "run_cancelled"
    await world.check()
    return slowest
