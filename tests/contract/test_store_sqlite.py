"""SQLite alone: the group commit, a busy file, a full disk, and a kill at any moment."""

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.store.database.checkpoints import ROWS
from adapters.store.database.sqlite import SqliteEngine
from adapters.store.database.tx import Tx, Unit
from adapters.store.database.urls import SqliteFile
from domain.errors import StoreFullError, StoreUnavailableError
from domain.event import StoredEvent
from domain.step import Attempt
from tests.contract.store_engines import SqliteTemplate, StoreBox, open_box
from tests.contract.store_scenes import new_run, open_step, types

_HOLDER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("INSERT INTO meta VALUES ('other', 'process')")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
connection.execute("COMMIT")
"""
_APPENDER = """
import asyncio, sys
from pathlib import Path
from adapters.store.database.sqlite import SqliteEngine

async def main():
    engine = SqliteEngine(Path(sys.argv[1]), lambda events: None)
    engine.start()
    first = int(sys.argv[2])

    async def append(n):
        sql = "INSERT INTO meta (key, value) VALUES (:key, :value)"
        await engine.write(lambda tx: tx.run(sql, key=f"{n:09}", value="x" * 200))
        print(n, flush=True)

    async def writer(lane):
        for n in range(first + lane, first + 1_000_000, 8):
            await append(n)

    await asyncio.gather(*(writer(lane) for lane in range(8)))

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path, sqlite_template: SqliteTemplate) -> Path:
    return sqlite_template.copy_to(tmp_path / "store.db").path


@pytest.fixture
async def store(path: Path, request: pytest.FixtureRequest) -> AsyncIterator[StoreBox]:
    """A store that waits half a second, at most, for a file that others hold."""
    box = open_box("sqlite", SqliteFile(path), busy_seconds=0.5)
    yield box
    await box.engine.close()


def note(key: str) -> Unit[str]:
    def unit(tx: Tx) -> str:
        tx.run("INSERT INTO meta (key, value) VALUES (:key, 'x')", key=key)
        return key

    return unit


async def notes(store: StoreBox) -> list[str]:
    return [row["key"] for row in await store.all("SELECT key FROM meta ORDER BY key")]


def groups(store: StoreBox) -> int:
    assert isinstance(store.engine, SqliteEngine)
    return store.engine.groups_committed


async def flood(store: StoreBox, attempt: Attempt) -> None:
    for index in range(1, 300):
        await store.steps.append_delta(attempt, "x" * 4000, index)


class Holder:
    """Another process that holds the file's write lock for a while."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(path), str(seconds)], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"

    def wait(self) -> None:
        self._process.communicate(timeout=20)
        assert self._process.returncode == 0

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=20)


async def test_what_arrives_together_is_committed_together(store: StoreBox) -> None:
    go = threading.Event()
    first = asyncio.ensure_future(store.engine.write(lambda _tx: go.wait(5)))
    await asyncio.sleep(0.05)
    rest = [asyncio.ensure_future(store.engine.write(note(f"{n:03}"))) for n in range(300)]
    await asyncio.sleep(0)
    go.set()

    await asyncio.gather(first, *rest)

    assert groups(store) == 2
    assert len(await notes(store)) == 300


async def test_an_idle_writer_starts_with_the_first_unit(store: StoreBox) -> None:
    for number in range(5):
        await store.engine.write(note(f"{number}"))

    assert groups(store) == 5


async def test_a_short_lock_of_another_process_is_invisible(path: Path) -> None:
    box = open_box("sqlite", SqliteFile(path))
    holder = Holder(path, 1.0)

    reading = await notes(box)
    written = await box.engine.write(note("ours"))
    holder.wait()

    assert (reading, written) == ([], "ours")
    assert await notes(box) == ["other", "ours"]
    await box.engine.close()


async def test_a_long_lock_refuses_the_write_and_keeps_nothing_of_it(
    store: StoreBox, path: Path
) -> None:
    holder = Holder(path, 60)

    refused = await asyncio.gather(
        *(store.runs.accept(new_run(f"run_{n}", "s1")) for n in range(5)), return_exceptions=True
    )
    holder.kill()

    assert {type(one) for one in refused} == {StoreUnavailableError}
    assert store.committed == []
    for table in ("runs", "events", "messages", "sessions"):
        assert await store.all(f"SELECT 1 FROM {table}") == []
    await store.runs.accept(new_run("run_1"))
    assert await types(store, "run_1") == ["user_input"]


async def test_a_full_disk_refuses_writes_until_there_is_room(store: StoreBox) -> None:
    """The page limit gives the very error of a full disk, on any machine."""
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")
    (pages,) = (await store.one("PRAGMA page_count")).values()
    await store.write(lambda tx: tx.all(f"PRAGMA max_page_count = {pages}"))

    with pytest.raises(StoreFullError, match="free space"):
        await flood(store, attempt)
    kept = await types(store, "run_1")
    told = [event.type for event in store.committed if event.run_id == "run_1"]
    await store.write(lambda tx: tx.all("PRAGMA max_page_count = 1000000"))
    await store.steps.append_delta(attempt, "again", 1000)

    assert told == kept
    assert await types(store, "run_1") == [*kept, "agent_stream_delta"]
    assert (await store.one("PRAGMA integrity_check"))["integrity_check"] == "ok"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_disk_that_is_really_full_is_survived(
    small_disk: Path, sqlite_template: SqliteTemplate
) -> None:
    box = open_box("sqlite", sqlite_template.copy_to(small_disk / "store.db"))
    await box.runs.accept(new_run("run_1"))
    attempt = await open_step(box, "run_1")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 300_000)

    with pytest.raises(StoreFullError):
        await flood(box, attempt)
    kept = await types(box, "run_1")
    ballast.unlink()
    await box.steps.append_delta(attempt, "again", 1000)

    assert await types(box, "run_1") == [*kept, "agent_stream_delta"]
    assert (await box.one("PRAGMA integrity_check"))["integrity_check"] == "ok"
    await box.engine.close()


def test_a_kill_loses_no_acknowledged_write(path: Path) -> None:
    seed = int(os.environ.get("ORCHESTRATOR_TEST_SEED", "0")) or random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    acknowledged: set[int] = set()

    for round_number in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", _APPENDER, str(path), str(round_number * 1_000_000)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        acknowledged.add(int(process.stdout.readline()))
        time.sleep(dice.uniform(0.02, 0.3))
        process.send_signal(signal.SIGKILL)
        whole_lines = process.communicate()[0].rpartition(b"\n")[0]
        acknowledged |= {int(line) for line in whole_lines.split()}

    with sqlite3.connect(path) as connection:
        kept = {int(key) for (key,) in connection.execute("SELECT key FROM meta")}
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    assert acknowledged <= kept
    assert len(acknowledged) > 20
    assert verdict == "ok"


async def test_a_write_at_once_does_not_hold_up_the_event_loop(path: Path) -> None:
    """Another process writes: the writer thread waits for it."""
    box = open_box("sqlite", SqliteFile(path))
    await box.engine.write_at_once(note("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(box.engine.write_at_once(note("b")))
        _, still = await asyncio.wait({waiting}, timeout=0.2)
        other.execute("ROLLBACK")

    assert still
    assert await waiting == "b"
    await box.engine.close()


async def test_closing_commits_what_still_waits(path: Path) -> None:
    box = open_box("sqlite", SqliteFile(path))
    waiting = [asyncio.ensure_future(box.engine.write(note(f"{n:03}"))) for n in range(100)]
    await asyncio.sleep(0)

    await box.engine.close()

    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM meta").fetchone() == (100,)
    connection.close()
    assert not path.with_name("store.db-wal").exists()


async def test_a_file_that_cannot_be_opened_is_said_to_be(tmp_path: Path) -> None:
    engine = SqliteEngine(tmp_path, lambda _events: None)

    with pytest.raises(StoreUnavailableError, match="cannot open"):
        engine.start()
    with pytest.raises(StoreUnavailableError, match="closed"):
        await engine.write(note("a"))
    await engine.close()


async def test_a_file_that_is_no_database_is_said_to_be(path: Path) -> None:
    path.write_bytes(b"rubbish" * 1000)

    with pytest.raises(StoreUnavailableError, match="not a database"):
        SqliteEngine(path, lambda _events: None).start()


def test_an_event_loop_that_is_gone_stops_nobody(path: Path) -> None:
    """A write that outlives its loop is committed; the writer goes on for others."""
    engine = SqliteEngine(path, lambda _events: None)
    engine.start()
    go = threading.Event()

    async def leave() -> None:
        asyncio.ensure_future(engine.write(lambda _tx: go.wait(5)))  # noqa: RUF006 - it is left
        late = asyncio.ensure_future(engine.write(note("late")))
        await asyncio.sleep(0.05)
        late.cancel()

    asyncio.run(leave())
    go.set()

    async def go_on() -> None:
        await engine.write(note("later"))
        await engine.close()

    asyncio.run(go_on())
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT key FROM meta ORDER BY key").fetchall()
    connection.close()
    assert found == [("late",), ("later",)]


@pytest.mark.parametrize("at_once", [False, True])
async def test_the_log_is_folded_beside_whoever_writes(tmp_path: Path, at_once: bool) -> None:
    """The writer's own limit is far away, yet what is committed reaches the file itself."""
    path = tmp_path / "store.db"
    told: list[StoredEvent] = []
    engine = SqliteEngine(path, told.extend)
    engine.start()
    await engine.write(lambda tx: tx.run("CREATE TABLE notes (text TEXT)"))

    def fill(tx: Tx) -> None:
        for _ in range(ROWS + 1):
            tx.run("INSERT INTO notes VALUES (:text)", text="x" * 100)

    await (engine.write_at_once(fill) if at_once else engine.write(fill))
    async with asyncio.timeout(10):
        while path.stat().st_size < ROWS * 100:
            await asyncio.sleep(0.01)
    await engine.close()
    assert not any(thread.name == "store-fold" for thread in threading.enumerate())


async def test_a_replay_says_that_the_store_is_gone(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")
    for index in range(1, 100):
        await store.steps.append_delta(attempt, "x", index)
    reading = store.log.replay("run_1", 0, 1000)
    await anext(reading)
    await store.engine.close()

    with pytest.raises(StoreUnavailableError):
        _ = [page async for page in reading]
