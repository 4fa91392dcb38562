"""PostgreSQL alone: lost connections, lost deadlocks, a full disk, and wake-ups for others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapters.store.database import postgres
from adapters.store.database.postgres import CHANNEL, PostgresEngine
from adapters.store.database.tx import Tx, Unit
from adapters.store.database.urls import PostgresUrl
from bootstrap.settings import Settings
from bootstrap.storage import open_storage
from domain.errors import StoreFullError, StoreUnavailableError
from tests.contract.store_engines import PostgresServer, StoreBox, open_box
from tests.contract.store_scenes import CANCELLED, new_run

pytestmark = pytest.mark.parametrize("kind", ["postgres"], indirect=True)

_KILL_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE :query"
)
_ENDS_AT_COMMIT = (
    "CREATE FUNCTION end_at_commit() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'",
    "CREATE CONSTRAINT TRIGGER end_at_commit AFTER INSERT ON meta DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION end_at_commit()",
)


@pytest.fixture
async def store(database: PostgresUrl) -> AsyncIterator[StoreBox]:
    """A store with connections of its own: some are broken here, and all are counted."""
    box = open_box("postgres", database)
    yield box
    await box.engine.close()


def engine_of(store: StoreBox) -> PostgresEngine:
    assert isinstance(store.engine, PostgresEngine)
    return store.engine


def raising(sqlstate: str) -> Unit[None]:
    def unit(tx: Tx) -> None:
        tx.run("INSERT INTO meta (key, value) VALUES ('half', 'x')")
        tx.run(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$")

    return unit


async def kill_connections(store: StoreBox, query: str = "%") -> None:
    """End every other connection whose last query was like `query`."""
    await store.engine.write(lambda tx: tx.all(_KILL_OTHERS, query=query))


async def test_lost_connections_are_replaced(store: StoreBox) -> None:
    await asyncio.gather(*(store.runs.accept(new_run(f"run_{n}")) for n in range(8)))

    await kill_connections(store)
    await asyncio.gather(*(store.runs.accept(new_run(f"more_{n}")) for n in range(8)))

    assert (await store.runs.stats(None)).total == 16


async def test_work_whose_connection_is_lost_in_the_middle_is_done_again(store: StoreBox) -> None:
    seconds = {"write": [0, 5], "read": [0, 5]}

    def slow(what: str) -> Unit[str]:
        def unit(tx: Tx) -> str:
            if what == "write":
                tx.run("INSERT INTO meta (key, value) VALUES ('half', 'x')")
            tx.one(f"SELECT pg_sleep({seconds[what].pop()})")
            return what

        return unit

    writing = asyncio.ensure_future(store.engine.write(slow("write")))
    reading = asyncio.ensure_future(store.engine.read(slow("read")))
    await store.server_runs("SELECT pg_sleep(5)%", times=2)
    await kill_connections(store)

    assert [await writing, await reading] == ["write", "read"]
    assert [row["key"] for row in await store.all("SELECT * FROM meta")] == ["half"]


async def test_a_connection_that_is_lost_each_time_is_an_outage(store: StoreBox) -> None:
    tries: list[str] = []

    def unit(tx: Tx) -> None:
        tries.append("once")
        tx.one("SELECT pg_terminate_backend(pg_backend_pid())")

    for work in (store.engine.write, store.engine.read):
        with pytest.raises(StoreUnavailableError):
            await work(unit)
    assert len(tries) == 6


async def test_a_commit_whose_end_nobody_heard_is_not_tried_again(store: StoreBox) -> None:
    """It may have been kept: whoever asked has to look."""
    tries: list[str] = []
    for sql in _ENDS_AT_COMMIT:
        await store.set(sql)

    def unit(tx: Tx) -> None:
        tries.append("once")
        tx.run("INSERT INTO meta (key, value) VALUES ('half', 'x')")

    try:
        with pytest.raises(StoreUnavailableError):
            await store.engine.write(unit)
    finally:
        await store.set("DROP FUNCTION end_at_commit CASCADE")
    assert tries == ["once"]


async def test_a_server_that_is_not_there_is_an_outage(kind: str, tmp_path: Path) -> None:
    url = f"postgresql+asyncpg://postgres:@/nowhere?host={tmp_path}"
    engine = PostgresEngine(url, lambda _events: None)

    for work in (engine.write, engine.read):
        with pytest.raises(StoreUnavailableError):
            await work(lambda tx: tx.all("SELECT 1"))
    with pytest.raises(StoreUnavailableError):
        await engine.listen(lambda _run: None)
    await engine.close()


async def test_a_database_that_is_not_there_is_an_outage(
    kind: str, postgres_server: PostgresServer
) -> None:
    engine = PostgresEngine(postgres_server.url("nowhere").url, lambda _events: None)

    with pytest.raises(StoreUnavailableError):
        await engine.read(lambda tx: tx.all("SELECT 1"))
    await engine.close()


@pytest.mark.parametrize("state", ["53300", "57P01", "57P03", "08006"])
async def test_what_the_server_cannot_do_now_is_an_outage(store: StoreBox, state: str) -> None:
    with pytest.raises(StoreUnavailableError):
        await store.engine.write(raising(state))
    assert await store.all("SELECT * FROM meta") == []


async def test_a_full_disk_is_told_apart(store: StoreBox) -> None:
    with pytest.raises(StoreFullError):
        await store.engine.write(raising("53100"))


async def test_who_loses_a_deadlock_is_run_again(store: StoreBox) -> None:
    await store.set("INSERT INTO meta (key, value) VALUES ('a', '0'), ('b', '0')")

    def both(first: str, second: str) -> Unit[None]:
        def unit(tx: Tx) -> None:
            tx.run("UPDATE meta SET value = value || :n WHERE key = :key", n=first, key=first)
            tx.one("SELECT pg_sleep(0.2)")
            tx.run("UPDATE meta SET value = value || :n WHERE key = :key", n=second, key=second)

        return unit

    await asyncio.gather(store.engine.write(both("a", "b")), store.engine.write(both("b", "a")))

    assert [row["value"] for row in await store.all("SELECT value FROM meta ORDER BY key")] == [
        "0aa",
        "0bb",
    ]


async def test_a_conflict_that_never_ends_is_an_outage(store: StoreBox) -> None:
    with pytest.raises(StoreUnavailableError):
        await store.engine.write(raising("40001"))


async def test_no_connection_is_kept(store: StoreBox) -> None:
    viewer = store.log.follow("run_1", 0)
    waiting = asyncio.ensure_future(anext(viewer))
    await asyncio.gather(*(store.runs.accept(new_run(f"run_{n}")) for n in range(10)))
    await waiting

    with contextlib.suppress(StoreUnavailableError):
        await store.engine.write(raising("57P01"))
    await asyncio.sleep(postgres.NOTIFY_SECONDS * 3)

    assert engine_of(store).connections_in_use == 0
    await viewer.aclose()  # type: ignore[attr-defined] # an async generator


async def test_a_connection_in_use_at_the_end_is_closed_when_its_work_ends(
    store: StoreBox, database: PostgresUrl
) -> None:
    """Warnings are errors: one that the garbage collector finds would fail some later test."""
    other = PostgresEngine(database.url, lambda _events: None)
    write = other.write(lambda tx: tx.all("SELECT pg_sleep(0.5), 'write'"))
    read = other.read(lambda tx: tx.all("SELECT pg_sleep(0.5), 'read'"))
    working = [asyncio.ensure_future(work) for work in (write, read)]
    listening = asyncio.ensure_future(other.listen(lambda _run: None))
    for query in ("SELECT pg_sleep%write%", "SELECT pg_sleep%read%", "LISTEN%"):
        await store.server_runs(query)

    await other.close()
    await asyncio.gather(*working)
    listening.cancel()
    await asyncio.wait({listening})

    sql = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND query LIKE :q"
    async with asyncio.timeout(10):
        while [row for q in ("%pg_sleep%", "%LISTEN%") for row in await store.all(sql, q=q)]:
            await asyncio.sleep(0.01)


async def test_others_are_told_of_every_run_in_few_notices(
    store: StoreBox, database: PostgresUrl
) -> None:
    heard: list[str] = []
    other = PostgresEngine(database.url, lambda _events: None)
    listening = asyncio.ensure_future(other.listen(heard.append))
    await store.server_runs("LISTEN%")

    await asyncio.gather(*(store.runs.accept(new_run(f"run_{n:030}")) for n in range(250)))
    for _ in range(200):
        if len(set(heard)) == 250:
            break
        await asyncio.sleep(0.01)

    assert set(heard) == {f"run_{n:030}" for n in range(250)}
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
    await other.close()


async def test_wake_ups_that_cannot_be_sent_cost_no_write(
    store: StoreBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "CHANNEL", "x" * 100)  # PostgreSQL refuses such a name

    await store.runs.accept(new_run("run_1"))
    await asyncio.sleep(postgres.NOTIFY_SECONDS * 5)
    await store.runs.accept(new_run("run_2"))

    assert CHANNEL != postgres.CHANNEL
    assert (await store.runs.stats(None)).total == 2


async def test_listening_ends_when_its_connection_is_lost(store: StoreBox) -> None:
    listening = asyncio.ensure_future(engine_of(store).listen(lambda _run: None))
    await store.server_runs("LISTEN%")

    await kill_connections(store)

    with contextlib.suppress(StoreUnavailableError):
        await asyncio.wait_for(listening, 5)
    assert listening.done()


async def test_what_is_committed_while_nobody_listens_is_noticed_later(
    store: StoreBox, database: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await open_storage(Settings(database_url=database.url))
    engine = storage.engine
    assert isinstance(engine, PostgresEngine)
    listen, calls, may_listen = engine.listen, list[int](), asyncio.Event()

    async def held(on_run: Callable[[str], None], on_begin: Callable[[], None]) -> None:
        calls.append(1)
        if len(calls) > 1:
            await may_listen.wait()
        await listen(on_run, on_begin)

    monkeypatch.setattr(engine, "listen", held)
    monkeypatch.setattr("bootstrap.storage.LISTEN_AGAIN_SECONDS", 0)
    watching = asyncio.ensure_future(storage.watch(apart=True))
    await store.server_runs("LISTEN%")
    await store.runs.accept(new_run("run_1"))
    follow = storage.events.follow("run_1", 0)
    assert (await anext(follow))[-1].seq == 1
    rest = asyncio.ensure_future(anext(follow))

    await kill_connections(store, "LISTEN%")
    async with asyncio.timeout(10):
        while len(calls) < 2:
            await asyncio.sleep(0)
    await store.steps.finalize("run_1", CANCELLED)
    await asyncio.sleep(postgres.NOTIFY_SECONDS * 5)  # said, and heard by nobody
    may_listen.set()

    assert (await asyncio.wait_for(rest, 10))[-1].is_terminal
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await follow.aclose()  # type: ignore[attr-defined] # an async generator
    await storage.close()
