"""A replay says what the log says, byte for byte and in order, however its pages fall."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from adapters.store.database.sqlite import SqliteTx
from adapters.store.database.tx import Row
from adapters.store.log import pages as log_pages
from adapters.store.log import replay
from api.tail import replay_and_follow
from domain.event import TERMINAL_EVENTS, EventType, sse_frames
from domain.run import Run
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import CANCELLED, new_run, open_step
from tests.rig.waiting import until

TEXTS = ("plain", "zwölf Ünïcödé \N{SNOWMAN} \N{GRINNING FACE}", "a\nb\r\n\tc\x00 ' '' :name", "")


async def fill(store: StoreBox, deltas: int = 30) -> int:
    """Make a finished run with texts of every kind; return its last `seq`."""
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")
    for index in range(1, deltas + 1):
        text = TEXTS[index % len(TEXTS)] + "x" * (index * 7 % 50)
        await store.steps.append_delta(attempt, text, index)
    await store.steps.finalize("run_1", CANCELLED)
    return (await store.runs.get_run(None, "run_1")).last_seq


async def pages(
    store: StoreBox, after: int, until: int, types: Sequence[str] | None = None
) -> list[bytes]:
    return [page async for page in store.log.replay("run_1", after, until, types)]


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize("page_bytes", [1, 2_000, 1 << 19])
async def test_pages_are_what_was_logged(
    store: StoreBox, monkeypatch: pytest.MonkeyPatch, rows: int, page_bytes: int
) -> None:
    monkeypatch.setattr(replay, "_ROWS", rows)
    monkeypatch.setattr(replay, "_FIRST_ROWS", min(rows, 4))
    monkeypatch.setattr(log_pages, "PAGE_BYTES", page_bytes)
    last = await fill(store)
    logged = await store.log.read("run_1", 0, 1000)

    assert b"".join(await pages(store, 0, last)) == sse_frames(logged)
    assert b"".join(await pages(store, 5, last - 3)) == sse_frames(logged[5:-3])
    assert await pages(store, last, last) == []
    assert await pages(store, last + 5, last) == []
    only = sorted({EventType.AGENT_STREAM_DELTA, *TERMINAL_EVENTS})
    shown = [event for event in logged if event.type in only]
    assert b"".join(await pages(store, 0, last, only)) == sse_frames(shown)
    assert await pages(store, 0, last, []) == []
    assert await pages(store, 0, last, ["') OR 1=1 --"]) == []


class Asked:
    """A transaction that notes how what it is asked would be found."""

    def __init__(self, tx: SqliteTx) -> None:
        self.octets, self.joined = tx.octets, tx.joined
        self._tx = tx
        self.plans: list[str] = []

    def one(self, sql: str, **params: object) -> Row | None:
        plan = self._tx.all(f"EXPLAIN QUERY PLAN {sql}", **params)
        self.plans += [str(row["detail"]) for row in plan]
        return self._tx.one(sql, **params)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("types", [None, ["agent_stream_delta"]])
async def test_rows_are_joined_in_the_order_of_their_key(
    store: StoreBox, types: list[str] | None
) -> None:
    """SQLite joins texts as rows come, and promises no order but by where it looks for them."""
    last = await fill(store)

    def ask(tx: Any) -> list[str]:
        asked: Any = Asked(tx)
        log_pages.FrameReader("run_1", last, types).read(asked, 0, last)
        plans: list[str] = asked.plans
        return plans

    plans = await store.engine.read(ask)

    searches = [plan for plan in plans if "events" in plan]
    assert len(searches) >= 2
    by_key = "SEARCH events USING PRIMARY KEY (run_id=? AND seq>? AND seq<?)"
    assert set(searches) == {by_key}


async def test_large_events_after_small_ones_make_small_pages(store: StoreBox) -> None:
    """What the pages before were like says nothing of the next one."""
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")
    for index in range(1, 200):
        await store.steps.append_delta(attempt, "x", index)
    for index in range(200, 260):
        await store.steps.append_delta(attempt, "y" * 100_000, index)
    await store.steps.append_delta(attempt, "z" * 2 * log_pages.PAGE_BYTES, 260)
    last = (await store.runs.get_run(None, "run_1")).last_seq

    *some, alone = await pages(store, 0, last)

    assert max(map(len, some)) < log_pages.PAGE_BYTES * 1.1
    assert alone.count(b"\nevent: ") == 1
    assert b"".join([*some, alone]) == sse_frames(await store.log.read("run_1", 0, 1000))


@pytest.mark.parametrize("turns", [0, 1, 3])
async def test_a_reader_that_leaves_leaves_no_read_behind(store: StoreBox, turns: int) -> None:
    """Whether the read of the next page has begun or not."""
    before = asyncio.all_tasks()
    last = await fill(store, 200)
    await until("others are told of what was written", lambda: asyncio.all_tasks() <= before)
    reading = store.log.replay("run_1", 0, last)

    await anext(reading)
    for _ in range(turns):
        await asyncio.sleep(0)
    await reading.aclose()

    assert asyncio.all_tasks() <= before
    assert len(await pages(store, 0, last)) > 1


async def streamed(store: StoreBox, run: Run, start: int, types: frozenset[str] | None) -> bytes:
    """Read a stream as a viewer does who looked at the run a while ago."""
    told: list[int] = []
    stream = replay_and_follow(store.log, run, start, types, lambda last: told.append(last.seq))
    async with asyncio.timeout(10):
        found = b"".join([chunk async for chunk in stream])
    assert all(seq > run.last_seq for seq in told), "what was on record is not live"
    return found


@pytest.mark.parametrize("types", [None, frozenset({"agent_stream_delta"})])
async def test_a_run_that_grows_and_ends_meanwhile_is_streamed_without_a_seam(
    store: StoreBox, types: frozenset[str] | None
) -> None:
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")
    for index in range(1, 40):
        await store.steps.append_delta(attempt, "x", index)
    known = await store.runs.get_run(None, "run_1")
    for index in range(40, 60):
        await store.steps.append_delta(attempt, "y", index)
    await store.steps.finalize("run_1", CANCELLED)

    logged = await store.log.read("run_1", 0, 1000)
    for start in (0, 7, known.last_seq, known.last_seq + 5):
        wanted = [
            event
            for event in logged[start:]
            if types is None or event.type in types or event.is_terminal
        ]
        assert await streamed(store, known, start, types) == sse_frames(wanted)


async def test_a_page_is_sent_in_pieces_of_whole_frames(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")
    for index in range(1, 30):
        await store.steps.append_delta(attempt, "word " * (index * 997 % 7000), index)
    await store.steps.finalize("run_1", CANCELLED)
    run = await store.runs.get_run(None, "run_1")

    stream = replay_and_follow(store.log, run, 0, None, lambda _: None)
    found = [chunk async for chunk in stream]

    assert b"".join(found) == sse_frames(await store.log.read("run_1", 0, 1000))
    assert all(chunk.startswith(b"id: ") and chunk.endswith(b"\n\n") for chunk in found)
    assert all(len(chunk) <= 64 * 1024 or chunk.count(b"\nevent: ") == 1 for chunk in found)
    assert len(found) > 2
