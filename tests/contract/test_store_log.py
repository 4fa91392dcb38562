"""The event log as viewers see it: everything once, in order, after its commit, to the end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from adapters.store.database.postgres import PostgresEngine
from adapters.store.log import eventlog
from adapters.store.log.eventlog import watch_other_processes
from adapters.store.log.hub import BUFFER_EVENTS, Hub
from domain.event import StoredEvent
from domain.step import Attempt
from tests.contract.store_engines import StoreBox, open_box
from tests.contract.store_scenes import CANCELLED, DONE, answer, new_run, open_step


async def begin(store: StoreBox, run_id: str = "run_1") -> Attempt:
    await store.runs.accept(new_run(run_id))
    return await open_step(store, run_id)


async def collect(store: StoreBox, run_id: str, after: int = 0) -> list[int]:
    return [event.seq async for page in store.log.follow(run_id, after) for event in page]


async def watched(hub: Hub, run_id: str) -> None:
    """Wait until somebody watches a run."""
    while run_id not in hub.watched():
        await asyncio.sleep(0.001)


async def test_the_log_is_read_in_pages(store: StoreBox) -> None:
    attempt = await begin(store)
    for index in range(1, 11):
        await store.steps.append_delta(attempt, "x", index)

    async def seqs(after: int, limit: int, types: Sequence[str] | None = None) -> list[int]:
        return [event.seq for event in await store.log.read("run_1", after, limit, types)]

    assert await seqs(0, 3) == [1, 2, 3]
    assert await seqs(12, 100) == [13, 14]
    assert await seqs(14, 100) == []
    assert await seqs(0, 100, ["run_started", "user_input"]) == [1, 2]
    assert await seqs(6, 2, ["agent_stream_delta"]) == [7, 8]
    assert await seqs(0, 100, []) == []
    assert await seqs(0, 100, ["') OR 1=1 --"]) == []
    assert await store.log.read("run_0", 0, 100) == []


async def test_a_finished_log_is_replayed_whole(
    store: StoreBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(eventlog, "PAGE", 4)
    attempt = await begin(store)
    for index in range(1, 8):
        await store.steps.append_delta(attempt, "x", index)
    await store.steps.finalize("run_1", CANCELLED)
    last = (await store.runs.get_run(None, "run_1")).last_seq

    assert await collect(store, "run_1") == list(range(1, last + 1))
    assert await collect(store, "run_1", last - 1) == [last]
    assert store.hub.watched() == []


async def test_a_viewer_sees_events_as_they_are_committed(store: StoreBox) -> None:
    viewer = asyncio.ensure_future(collect(store, "run_1"))
    await watched(store.hub, "run_1")

    attempt = await begin(store)
    for index in range(1, 6):
        await store.steps.append_delta(attempt, "x", index)
    await store.steps.close(attempt, answer(delta_index=6))
    await store.steps.finalize("run_1", DONE)

    last = (await store.runs.get_run(None, "run_1")).last_seq
    assert await asyncio.wait_for(viewer, 5) == list(range(1, last + 1))


async def test_any_number_of_viewers_come_and_go(store: StoreBox) -> None:
    """Each begins somewhere else; each sees the rest exactly once."""
    attempt = await begin(store)
    viewers = [asyncio.ensure_future(collect(store, "run_1", after)) for after in range(4)]
    leaver = asyncio.ensure_future(collect(store, "run_1"))
    for index in range(1, 6):
        await store.steps.append_delta(attempt, "x", index)
        viewers.append(asyncio.ensure_future(collect(store, "run_1", index)))
    leaver.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leaver
    await store.steps.finalize("run_1", CANCELLED)

    last = (await store.runs.get_run(None, "run_1")).last_seq
    seen = await asyncio.wait_for(asyncio.gather(*viewers), 5)
    assert seen == [list(range(after + 1, last + 1)) for after in (0, 1, 2, 3, 1, 2, 3, 4, 5)]
    assert store.hub.watched() == []


async def test_many_writers_never_confuse_a_viewer(store: StoreBox) -> None:
    """On PostgreSQL two commits may be told in the other order than they were made."""
    await begin(store)
    viewer = asyncio.ensure_future(collect(store, "run_1"))
    await watched(store.hub, "run_1")
    attempts = [await open_step(store, "run_1", f"llm-1-{k}") for k in range(2, 10)]

    await asyncio.gather(
        *(
            store.steps.append_delta(attempt, "x", index)
            for index in range(1, 21)
            for attempt in attempts
        )
    )
    await store.steps.finalize("run_1", CANCELLED)

    last = (await store.runs.get_run(None, "run_1")).last_seq
    assert await asyncio.wait_for(viewer, 10) == list(range(1, last + 1))


async def test_a_viewer_that_stops_reading_costs_bounded_memory(store: StoreBox) -> None:
    attempt = await begin(store)
    pages = store.log.follow("run_1", 0)
    seen = [event.seq for event in await anext(pages)]
    for index in range(1, 4):
        await store.steps.append_delta(attempt, "x", index)
    flood = [fake_event("run_1", 7 + n) for n in range(BUFFER_EVENTS)]
    store.hub.publish(flood)  # never committed: the log is what counts
    for index in range(4, 7):
        await store.steps.append_delta(attempt, "x", index)
    await store.steps.finalize("run_1", CANCELLED)

    async for page in pages:
        seen += [event.seq for event in page]

    last = (await store.runs.get_run(None, "run_1")).last_seq
    assert seen == list(range(1, last + 1))


def fake_event(run_id: str, seq: int) -> StoredEvent:
    return StoredEvent(run_id=run_id, seq=seq, type="agent_stream_delta", envelope="{}")


async def test_a_refused_write_is_never_seen(store: StoreBox) -> None:
    attempt = await begin(store)
    viewer = asyncio.ensure_future(collect(store, "run_1"))
    await watched(store.hub, "run_1")
    await open_step(store, "run_1")

    with pytest.raises(Exception, match="not the current one"):
        await store.steps.append_delta(attempt, "too late", 1)
    await store.steps.finalize("run_1", CANCELLED)

    await asyncio.wait_for(viewer, 5)
    assert not any("too late" in event.envelope for event in store.committed)


@pytest.fixture
async def elsewhere(store: StoreBox) -> AsyncIterator[StoreBox]:
    """The same database as another process would open it."""
    box = open_box(store.kind, store.database)
    box.clock.now = store.clock.now
    yield box
    await box.engine.close()


async def test_a_viewer_follows_what_another_process_commits(
    store: StoreBox, elsewhere: StoreBox
) -> None:
    if isinstance(elsewhere.engine, PostgresEngine):
        helper = asyncio.ensure_future(elsewhere.engine.listen(elsewhere.hub.notice))
        await store.server_runs("LISTEN%")
    else:
        helper = asyncio.ensure_future(watch_other_processes(elsewhere.engine, elsewhere.hub, 0.01))
    viewer = asyncio.ensure_future(collect(elsewhere, "run_1"))
    await watched(elsewhere.hub, "run_1")

    attempt = await begin(store)
    for index in range(1, 6):
        await store.steps.append_delta(attempt, "x", index)
        await asyncio.sleep(0.01)
    await store.steps.finalize("run_1", CANCELLED)

    last = (await store.runs.get_run(None, "run_1")).last_seq
    assert await asyncio.wait_for(viewer, 5) == list(range(1, last + 1))
    helper.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await helper
