"""Cursors of the event push on both databases."""

from dataclasses import replace

from domain.event import StoredEvent
from domain.push import Behind
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import DONE, new_run, new_tool_run


def event(run_id: str, seq: int, kind: str = "user_input") -> StoredEvent:
    return StoredEvent(run_id, seq, kind, "{}")


async def due(store: StoreBox) -> list[tuple[str, int]]:
    await store.pushes.discover()
    return [(run.run_id, run.pushed_seq) for run in await store.pushes.due(100)]


async def test_runs_are_pushed_that_were_accepted_since_it_began(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    assert await due(store) == []
    store.clock.now += 10

    await store.runs.accept(new_run("run_2"))
    await store.runs.accept(new_run("run_3"))

    assert await due(store) == [("run_2", 0), ("run_3", 0)]
    (first, _) = await store.pushes.due(100)
    assert first == Behind("run_2", "s-run_2", 0, 0)


async def test_a_cursor_moves_by_one_and_only_once(store: StoreBox) -> None:
    await due(store)
    await store.runs.accept(new_run("run_1"))
    await due(store)

    assert not await store.pushes.advance("run_1", event("run_1", 2))
    assert await store.pushes.advance("run_1", event("run_1", 1))
    assert not await store.pushes.advance("run_1", event("run_1", 1))

    assert await due(store) == []
    await store.steps.finalize("run_1", DONE)
    assert await due(store) == [("run_1", 1)]


async def test_a_run_that_is_pushed_to_its_end_is_done(store: StoreBox) -> None:
    await due(store)
    await store.runs.accept(new_run("run_1"))
    await store.steps.finalize("run_1", DONE)
    await due(store)
    log = await store.log.read("run_1", 0, 100)

    for one in log:
        assert await store.pushes.advance("run_1", one)

    assert await due(store) == []
    assert [row["done"] for row in await store.all("SELECT done FROM pushes")] == [True]
    # Its row goes once no look can find the run again.
    store.clock.now += 2 * 600_000 + 120_000
    await store.pushes.discover()
    store.clock.now += 120_000
    await store.pushes.discover()
    assert await store.all("SELECT * FROM pushes") == []
    assert await due(store) == []


async def test_a_run_without_a_session_goes_to_its_roots(store: StoreBox) -> None:
    await due(store)
    await store.runs.accept(new_run("run_1"))
    await store.runs.accept(new_tool_run("run_2"))
    await store.runs.accept(replace(new_tool_run("run_3"), parent_run_id="run_1"))
    await store.pushes.discover()

    found = {run.run_id: run.session_id for run in await store.pushes.due(100)}

    assert found == {"run_1": "s-run_1", "run_3": "s-run_1"}


async def test_what_was_refused_is_left_alone_for_a_while(store: StoreBox) -> None:
    await due(store)
    await store.runs.accept(new_run("run_1"))
    await store.runs.accept(new_run("run_2"))
    await store.pushes.discover()
    (refused, _) = await store.pushes.due(100)

    await store.pushes.fail(refused, 1000, "HTTP 500")

    assert await due(store) == [("run_2", 0)]
    lag = await store.pushes.lag()
    assert (lag.runs, lag.events, lag.failing, lag.error) == (2, 2, 1, "HTTP 500")
    assert lag.oldest_ms > 0
    store.clock.now += 1000
    again = {run.run_id: run.failures for run in await store.pushes.due(100)}
    assert again == {"run_1": 1, "run_2": 0}
    await store.pushes.advance("run_1", event("run_1", 1))
    lag = await store.pushes.lag()
    assert (lag.runs, lag.failing, lag.error) == (1, 0, None)


async def test_nothing_waits_where_nothing_is(store: StoreBox) -> None:
    lag = await store.pushes.lag()

    assert (lag.runs, lag.events, lag.failing, lag.oldest_ms, lag.error) == (0, 0, 0, 0, None)
