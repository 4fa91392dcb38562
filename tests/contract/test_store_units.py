"""What an engine promises, whichever database is below: whole units, snapshots, plain errors."""

import asyncio
import contextlib
import threading
from functools import partial

import pytest

from adapters.store.database.postgres import PostgresEngine
from adapters.store.database.tx import Row, Tx, Unit
from domain.errors import NotFoundError, StoreUnavailableError
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import new_run


def note(key: str) -> Unit[str]:
    """The smallest write there is."""

    def unit(tx: Tx) -> str:
        tx.run("INSERT INTO meta (key, value) VALUES (:key, 'x')", key=key)
        return key

    return unit


def one_note(tx: Tx, key: str) -> Row | None:
    return tx.one("SELECT key FROM meta WHERE key = :key", key=key)


async def notes(store: StoreBox) -> list[str]:
    return [row["key"] for row in await store.all("SELECT key FROM meta ORDER BY key")]


async def test_a_unit_that_fails_leaves_nothing_behind(store: StoreBox) -> None:
    def half(tx: Tx) -> None:
        note("a")(tx)
        raise NotFoundError("changed my mind")

    with pytest.raises(NotFoundError, match="changed my mind"):
        await store.engine.write(half)

    assert await notes(store) == []


async def test_one_bad_unit_harms_no_other(store: StoreBox) -> None:
    """All arrive at once, so that they share a commit where commits are shared."""

    def wrong_sql(tx: Tx) -> str:
        note("half-1")(tx)
        tx.run("UPDATE no_such_table SET x = 1")
        return "unreachable"

    def too_large(tx: Tx) -> str:
        note("half-2")(tx)
        tx.run("UPDATE leases SET until = :n", n=2**63)
        return "unreachable"

    def breaks_a_rule(tx: Tx) -> str:
        note("half-3")(tx)
        return note("half-3")(tx)

    def gives_up(_tx: Tx) -> str:
        raise KeyError("no")

    units = [note("a"), wrong_sql, note("b"), too_large, breaks_a_rule, note("c"), gives_up]
    done = await asyncio.gather(
        *(store.engine.write(unit) for unit in units), return_exceptions=True
    )

    assert [one for one in done if isinstance(one, str)] == ["a", "b", "c"]
    assert not any(isinstance(one, StoreUnavailableError) for one in done)
    assert await notes(store) == ["a", "b", "c"]


async def test_a_write_at_once_is_whole_or_nothing(store: StoreBox) -> None:
    def half(tx: Tx) -> None:
        note("b")(tx)
        raise NotFoundError("changed my mind")

    assert await store.engine.write_at_once(note("a")) == "a"
    with pytest.raises(NotFoundError):
        await store.engine.write_at_once(half)
    with pytest.raises(Exception, match="no_such_table"):
        await store.engine.write_at_once(lambda tx: tx.run("UPDATE no_such_table SET x = 1"))
    await store.engine.write(note("c"))

    assert await notes(store) == ["a", "c"]


async def test_a_caller_that_gives_up_does_not_undo_its_write(store: StoreBox) -> None:
    waiting = asyncio.ensure_future(store.engine.write(note("a")))
    await asyncio.sleep(0)
    waiting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await waiting

    for _ in range(200):
        if await notes(store):
            break
        await asyncio.sleep(0.01)

    assert await notes(store) == ["a"]


async def test_viewers_are_told_before_the_writer(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    assert [event.run_id for event in store.committed] == ["run_1"]


async def test_one_read_sees_one_moment(store: StoreBox) -> None:
    """A list and its counts agree, whatever is written between the two queries."""
    began, written = threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def twice(tx: Tx) -> tuple[int, int]:
        first = len(tx.all("SELECT key FROM meta"))
        began.set()
        if isinstance(store.engine, PostgresEngine):
            tx.one("SELECT pg_sleep(0.3)")
        else:
            written.wait(5)
        return first, len(tx.all("SELECT key FROM meta"))

    reading = asyncio.ensure_future(store.engine.read(twice))
    await loop.run_in_executor(None, began.wait, 5) if store.kind == "sqlite" else None
    while not began.is_set():
        await asyncio.sleep(0.005)
    await store.engine.write(note("a"))
    written.set()

    assert await reading == (0, 0)
    assert await notes(store) == ["a"]


async def test_a_look_up_sees_what_was_just_written(store: StoreBox) -> None:
    for key in ("a", "b", "c"):
        await store.engine.write(note(key))
        found = await store.engine.look_up(partial(one_note, key=key))
        assert found is not None


async def test_a_look_up_that_fails_says_why(store: StoreBox) -> None:
    def missing(_tx: Tx) -> None:
        raise NotFoundError("there is no such thing")

    with pytest.raises(NotFoundError):
        await store.engine.look_up(missing)
    with pytest.raises(Exception, match="no_such_table"):
        await store.engine.look_up(lambda tx: tx.one("SELECT * FROM no_such_table"))


async def test_a_read_cannot_keep_what_it_writes(store: StoreBox) -> None:
    with contextlib.suppress(Exception):
        await store.engine.read(note("a"))

    if store.kind == "postgres":
        assert await notes(store) == []


async def test_numbers_and_bytes_come_back_as_they_went(store: StoreBox) -> None:
    await store.set(
        "INSERT INTO steps (run_id, step_id, state, attempt, temporal_run_id, scheduled_at_us,"
        " task_token, worker_id, opened_at, has_deltas) VALUES ('r', 's', 'open', 1, 't', :n,"
        " :token, 'w', 1, true)",
        n=2**62,
        token=b"\x00\xff\x80",
    )

    row = await store.one("SELECT scheduled_at_us, task_token, has_deltas, model FROM steps")

    assert (row["scheduled_at_us"], bytes(row["task_token"])) == (2**62, b"\x00\xff\x80")
    assert bool(row["has_deltas"]) is True
    assert row["model"] is None


async def test_a_closed_store_says_so(store: StoreBox) -> None:
    await store.engine.write(note("a"))

    await store.engine.close()
    await store.engine.close()

    if store.kind == "sqlite":
        with pytest.raises(StoreUnavailableError, match="closed"):
            await store.engine.write(note("b"))
        with pytest.raises(StoreUnavailableError, match="closed"):
            await store.engine.read(lambda tx: tx.all("SELECT 1"))
