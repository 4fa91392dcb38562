"""A replay says what the log says, byte for byte and in order, however its pages fall."""

import asyncio
from collections.abc import Sequence

import pytest

from adapters.store.log import replay
from domain.event import sse_frames
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import CANCELLED, new_run, open_step

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


@pytest.mark.parametrize("rows", [1, 3, 7, 500])
@pytest.mark.parametrize("page_bytes", [1, 2_000, 1 << 18])
async def test_pages_are_what_was_logged(
    store: StoreBox, monkeypatch: pytest.MonkeyPatch, rows: int, page_bytes: int
) -> None:
    monkeypatch.setattr(replay, "_ROWS", rows)
    monkeypatch.setattr(replay, "_FIRST_ROWS", min(rows, 4))
    monkeypatch.setattr(replay, "_PAGE_BYTES", page_bytes)
    last = await fill(store)
    logged = await store.log.read("run_1", 0, 1000)

    assert b"".join(await pages(store, 0, last)) == sse_frames(logged)
    assert b"".join(await pages(store, 5, last - 3)) == sse_frames(logged[5:-3])
    assert await pages(store, last, last) == []
    only = ["agent_stream_delta", "run_cancelled"]
    shown = [event for event in logged if event.type in only]
    assert b"".join(await pages(store, 0, last, only)) == sse_frames(shown)
    assert await pages(store, 0, last, []) == []
    assert await pages(store, 0, last, ["') OR 1=1 --"]) == []


async def test_large_events_make_small_pages(
    store: StoreBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_PAGE_BYTES", 4_000)
    last = await fill(store, 200)

    first, *deltas, _ = await pages(store, 0, last)

    assert first.count(b"\nevent: ") == replay._FIRST_ROWS
    assert len(deltas) > 10
    assert max(map(len, deltas)) < 5_000


async def test_a_reader_that_leaves_leaves_no_read_behind(store: StoreBox) -> None:
    last = await fill(store, 200)
    before = asyncio.all_tasks()
    reading = store.log.replay("run_1", 0, last)

    await anext(reading)
    await reading.aclose()

    assert asyncio.all_tasks() == before
