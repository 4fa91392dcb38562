"""Looking up and listing runs and tool calls: complete, in order, and each owner its own."""

from collections.abc import Sequence

import pytest

from adapters.store.database.pages import encode_cursor
from adapters.store.runs import reads
from adapters.store.steps.usage import list_usage
from domain.acceptance import Page, RunFilter
from domain.errors import InvalidRequestError, NotFoundError
from domain.run import Run, RunState
from domain.tool import Effect, ToolCallStatus, ToolOutcome
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    DONE,
    FAILED,
    OWNER,
    answer,
    bill,
    new_run,
    new_tool_run,
    open_step,
    start_with_tools,
)

EVERY = RunFilter()
BROKEN_CURSORS = [
    "",
    "!",
    "é",
    "bm90IGpzb24",
    encode_cursor([]),
    encode_cursor([1]),
    encode_cursor([1, 2]),
    encode_cursor([True, "run_1"]),
    encode_cursor([2**63, "run_1"]),
    encode_cursor([1, "run_1", 1]),
    "W" * 5000,
]


async def walk(
    store: StoreBox, owner: str | None, which: RunFilter = EVERY, limit: int = 3
) -> list[str]:
    """The ids of a whole list, read page by page."""
    found: list[str] = []
    page = Page(limit)
    while True:
        runs, cursor = await store.runs.list_runs(owner, which, page)
        found += [run.run_id for run in runs]
        assert len(runs) == limit or cursor is None
        if cursor is None:
            return found
        page = Page(limit, cursor)


async def test_a_run_of_another_owner_is_not_found(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    for owner, run_id in (("bob", "run_1"), (OWNER, "run_2"), ("", "run_1")):
        with pytest.raises(NotFoundError):
            await store.runs.get_run(owner, run_id)
        with pytest.raises(NotFoundError):
            await store.runs.ask_cancel(owner, run_id, None)
    assert (await store.runs.get_run(None, "run_1")).run_id == "run_1"


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 100])
async def test_pages_hold_every_run_once_newest_first(store: StoreBox, limit: int) -> None:
    for number in range(7):
        await store.runs.accept(new_run(f"run_{number}"))
    await store.runs.accept(new_run("run_other", owner="bob"))

    newest_first = [f"run_{number}" for number in reversed(range(7))]
    assert await walk(store, OWNER, limit=limit) == newest_first
    assert await walk(store, None, limit=limit) == ["run_other", *newest_first]
    assert await walk(store, "eve", limit=limit) == []


async def test_runs_of_the_same_moment_are_told_apart_by_id(store: StoreBox) -> None:
    for number in range(5):
        await store.runs.accept(new_run(f"run_{number}"))
    await store.set("UPDATE runs SET created_at = 5")

    assert await walk(store, OWNER, limit=2) == [f"run_{n}" for n in (4, 3, 2, 1, 0)]


async def test_what_comes_between_two_pages_is_not_shown_twice(store: StoreBox) -> None:
    for number in range(4):
        await store.runs.accept(new_run(f"run_{number}"))
    first, cursor = await store.runs.list_runs(OWNER, EVERY, Page(2))
    await store.runs.accept(new_run("run_new"))

    second, end = await store.runs.list_runs(OWNER, EVERY, Page(2, cursor))

    assert [run.run_id for run in (*first, *second)] == ["run_3", "run_2", "run_1", "run_0"]
    assert end is None


async def test_runs_are_filtered(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.runs.accept(new_run("run_2", "s1", agent_id="other"))
    await store.runs.accept(new_run("run_3", "s2"))
    await store.runs.accept(new_tool_run("run_4"))
    await store.steps.finalize("run_3", FAILED)

    assert await walk(store, OWNER, RunFilter(session_id="s1")) == ["run_2", "run_1"]
    assert await walk(store, OWNER, RunFilter(agent_id="helper")) == ["run_3", "run_1"]
    assert await walk(store, OWNER, RunFilter(state="FAILED")) == ["run_3"]
    assert await walk(store, OWNER, RunFilter(kind="tool")) == ["run_4"]
    assert await walk(store, OWNER, RunFilter(state="CREATED", session_id="s1", kind="tool")) == []
    assert await walk(store, "bob", RunFilter(session_id="s1")) == []
    assert await walk(store, OWNER, RunFilter(state="' OR 1=1 --")) == []


@pytest.mark.parametrize("cursor", BROKEN_CURSORS)
async def test_a_malformed_cursor_is_an_invalid_request(store: StoreBox, cursor: str) -> None:
    lists = (
        store.runs.list_runs(OWNER, EVERY, Page(2, cursor)),
        store.runs.list_tool_calls(OWNER, None, None, Page(2, cursor)),
        store.keys.list_keys(OWNER, Page(2, cursor)),
        store.directory.list_sessions(OWNER, Page(2, cursor)),
        store.directory.list_agents(OWNER, Page(2, cursor)),
    )
    for reading in lists:
        with pytest.raises(InvalidRequestError):
            await reading


async def test_a_cursor_does_not_open_another_owners_list(store: StoreBox) -> None:
    for number in range(4):
        await store.runs.accept(new_run(f"run_{number}"))
    _, cursor = await store.runs.list_runs(OWNER, EVERY, Page(1))

    runs, _ = await store.runs.list_runs("bob", EVERY, Page(10, cursor))

    assert runs == []


async def test_cancelling_is_noted_once(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    first = await store.runs.ask_cancel(OWNER, "run_1", "enough")
    noted = await store.one("SELECT cancel_asked_at, cancel_reason FROM runs")
    again = await store.runs.ask_cancel(None, "run_1", "again")

    assert first.cancel_asked
    assert again.cancel_asked
    assert first == await store.runs.get_run(OWNER, "run_1")
    assert noted == await store.one("SELECT cancel_asked_at, cancel_reason FROM runs")
    assert noted["cancel_reason"] == "enough"


async def test_a_run_that_ended_cannot_be_cancelled(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.steps.finalize("run_1", DONE)

    run: Run = await store.runs.ask_cancel(OWNER, "run_1", "too late")

    assert (run.state, run.cancel_asked) == (RunState.DONE, False)


async def test_tool_calls_are_listed_newest_first(store: StoreBox) -> None:
    one = await start_with_tools(store, "run_1", Effect.NONE, Effect.NONE)
    two = await start_with_tools(store, "run_2", Effect.UNSAFE)
    await store.steps.mark_unknown(await open_step(store, "run_2", "tool-1-0"), "cut")

    async def ids(owner: str | None, run_id: str | None, status: str | None) -> Sequence[str]:
        found, _ = await store.runs.list_tool_calls(owner, run_id, status, Page())
        return [call.tool_call_id for call in found]

    assert await ids(OWNER, None, None) == [*two, *reversed(one)]
    assert sorted(await ids(OWNER, "run_1", None)) == sorted(one)
    assert await ids(None, None, "outcome_unknown") == two
    assert await ids("bob", "run_1", None) == []
    first, cursor = await store.runs.list_tool_calls(OWNER, None, None, Page(2))
    rest, end = await store.runs.list_tool_calls(OWNER, None, None, Page(2, cursor))
    assert [call.tool_call_id for call in (*first, *rest)] == [*two, *reversed(one)]
    assert end is None


async def test_a_tool_call_of_another_owner_is_not_found(store: StoreBox) -> None:
    (call_id,) = await start_with_tools(store, "run_1", Effect.NONE)

    with pytest.raises(NotFoundError):
        await store.runs.get_tool_call("bob", call_id)
    assert (await store.runs.get_tool_call(None, call_id)).owner == OWNER


async def test_the_ledger_of_a_run_is_read_in_order(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    error = {"code": "model_timeout", "message": "slow"}
    await store.steps.fail(await open_step(store, "run_1"), bill(error=error, cost_pico=None))
    await store.steps.close(await open_step(store, "run_1"), answer())

    entries = await store.engine.read(lambda tx: list_usage(tx, OWNER, "run_1"))
    others = await store.engine.read(lambda tx: list_usage(tx, "bob", "run_1"))

    assert [(one.attempt, one.cost_pico, one.error_code) for one in entries] == [
        (1, None, "model_timeout"),
        (2, 140_000, None),
    ]
    assert entries[1].usage.cached_tokens == 5
    assert not entries[1].estimated
    assert others == []


async def test_figures_of_an_empty_store(store: StoreBox) -> None:
    stats = await store.runs.stats(OWNER)

    assert (stats.total, stats.by_state, stats.waiting) == (0, {}, {})
    assert (stats.average_ms, stats.p95_ms, stats.wait_p95_ms) == (None, None, None)
    assert stats.success_rate is None


async def test_figures_count_all_and_time_those_that_ended(store: StoreBox) -> None:
    for number in range(1, 101):
        await store.runs.accept(new_run(f"run_{number}"))
        if number <= 20:
            await store.steps.finalize(f"run_{number}", DONE if number <= 15 else FAILED)
    await store.set(
        "UPDATE runs SET started_at = created_at + 7, ended_at = created_at + 7 + priority"
        " WHERE ended_at IS NOT NULL"
    )
    for number in range(1, 21):
        await store.set(
            "UPDATE runs SET ended_at = started_at + :took WHERE run_id = :id",
            took=number * 100,
            id=f"run_{number}",
        )
    await store.runs.accept(new_run("run_other", owner="bob"))
    await store.runs.accept(new_run("run_second", "s-run_99"))
    await store.steps.read_turn("run_second", "temporal-1")

    stats = await store.runs.stats(OWNER)

    assert stats.total == 101
    assert stats.by_state == {"CREATED": 80, "RUNNING": 1, "DONE": 15, "FAILED": 5}
    assert stats.waiting == {"session": 1}
    assert (stats.p50_ms, stats.p95_ms, stats.average_ms) == (1000, 1900, 1050)
    assert stats.wait_p95_ms == 7
    assert stats.success_rate == 0.75
    assert (await store.runs.stats(None)).total == 102


async def test_tool_requests_are_counted_by_the_status_of_their_call(store: StoreBox) -> None:
    for name, ok in (("run_good", True), ("run_bad", False)):
        await store.runs.accept(new_tool_run(name))
        attempt = await open_step(store, name, "tool-1-0")
        status = ToolCallStatus.SUCCEEDED if ok else ToolCallStatus.FAILED
        outcome = ToolOutcome(ok=ok, content="said", error_code=None if ok else "tool_error")
        await store.steps.close_tool(attempt, status, outcome)
        await store.steps.finalize(name, DONE)

    mine, others = await store.runs.stats(OWNER), await store.runs.stats("bob")

    assert (mine.by_state, mine.succeeded, mine.failed) == ({"DONE": 2}, 1, 1)
    assert mine.success_rate == 0.5
    assert others.failed_tool_runs == 0


async def test_times_are_taken_from_the_last_runs_only(
    store: StoreBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cost of figures does not grow with the years."""
    monkeypatch.setattr(reads, "SAMPLE", 2)
    for number in range(1, 5):
        await store.runs.accept(new_run(f"run_{number}"))
        await store.steps.finalize(f"run_{number}", DONE)
        await store.set(
            "UPDATE runs SET ended_at = started_at + :took WHERE run_id = :id",
            took=number * 1_000_000,
            id=f"run_{number}",
        )

    assert (await store.runs.stats(OWNER)).average_ms == 3_500_000
