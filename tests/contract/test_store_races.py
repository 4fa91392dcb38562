"""Many at once: nothing is lost, nothing happens twice, nobody waits for ever."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from adapters.store.database import postgres
from domain.errors import StepRefusedError
from domain.step import Attempt
from domain.tool import Effect, ToolCallStatus, ToolOutcome
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    FAILED,
    OWNER,
    answer,
    check_log,
    execution,
    new_run,
    open_step,
    start_with_tools,
)


@pytest.fixture(autouse=True)
def _a_deadlock_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit that lost a deadlock would be run again after a second; here it fails the test."""
    monkeypatch.setattr(postgres, "_ATTEMPTS", 1)


async def all_at_once(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)


async def test_twenty_ends_of_one_run_are_one_end(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.runs.accept(new_run("run_2", "s1"))
    ends = [DONE, FAILED, CANCELLED] * 7

    finished = await all_at_once(*(store.steps.finalize("run_1", end) for end in ends))

    assert sum(one.changed for one in finished) == 1
    assert len({one.state for one in finished}) == 1
    assert {one.woken_run_id for one in finished} == {"run_2"}
    await check_log(store, "run_1")


async def test_twenty_runs_of_one_session_end_and_come_at_once(store: StoreBox) -> None:
    """Ends and new messages of one session lock the same rows; the order is always the same."""
    for number in range(20):
        await store.runs.accept(new_run(f"run_{number}", "s1"))

    results = await all_at_once(
        *(store.steps.finalize(f"run_{number}", CANCELLED) for number in range(20)),
        *(store.runs.accept(new_run(f"new_{number}", "s1")) for number in range(20)),
        *(store.steps.read_turn(f"run_{number}", "temporal-1") for number in range(20)),
    )

    assert [one for one in results if isinstance(one, BaseException)] == []
    session = await store.directory.get_session(OWNER, "s1")
    assert session.active_run_id is not None
    assert len(session.queued_run_ids) == 19
    for number in range(20):
        await check_log(store, f"run_{number}")


async def test_a_session_is_handed_from_run_to_run_until_all_are_done(store: StoreBox) -> None:
    await asyncio.gather(*(store.runs.accept(new_run(f"run_{n}", "s1")) for n in range(20)))
    holder = (await store.directory.get_session(OWNER, "s1")).active_run_id
    seen = []

    while holder is not None:
        seen.append(holder)
        ends = await asyncio.gather(*(store.steps.finalize(holder, DONE) for _ in range(3)))
        (holder,) = {end.woken_run_id for end in ends}

    assert len(seen) == len(set(seen)) == 20
    messages = await store.steps.read_transcript(OWNER, "s1")
    assert [message.content for message in messages] == [f"hello from {run}" for run in seen]


async def test_an_end_and_a_closing_step_do_not_wait_for_each_other(store: StoreBox) -> None:
    """Both need the run's row and the session's: taken in one order, they never deadlock."""
    for number in range(20):
        await store.runs.accept(new_run(f"run_{number}"))
    attempts = [await open_step(store, f"run_{number}") for number in range(20)]

    results = await all_at_once(
        *(
            work
            for number, attempt in enumerate(attempts)
            for work in (
                store.steps.close(attempt, answer()),
                store.steps.finalize(f"run_{number}", CANCELLED),
            )
        )
    )

    late = [one for one in results if isinstance(one, BaseException)]
    assert all(isinstance(one, StepRefusedError) for one in late), late
    for number in range(20):
        await check_log(store, f"run_{number}")


async def test_tools_that_end_while_their_run_ends_do_not_deadlock(store: StoreBox) -> None:
    outcome = ToolOutcome(ok=True, content="sent")
    for number in range(10):
        await start_with_tools(store, f"run_{number}", Effect.NONE, Effect.NONE)
    attempts = [
        await open_step(store, f"run_{number}", f"tool-1-{index}")
        for number in range(10)
        for index in range(2)
    ]

    results = await all_at_once(
        *(store.steps.close_tool(one, ToolCallStatus.SUCCEEDED, outcome) for one in attempts),
        *(store.steps.finalize(f"run_{number}", FAILED) for number in range(10)),
    )

    late = [one for one in results if isinstance(one, BaseException)]
    assert all(isinstance(one, StepRefusedError) for one in late), late
    for number in range(10):
        messages = await store.steps.read_transcript(OWNER, f"s-run_{number}")
        assert [message.role for message in messages].count("tool") == 2
        await check_log(store, f"run_{number}")


async def test_a_parent_that_ends_takes_a_child_or_refuses_it(store: StoreBox) -> None:
    """A child in its parent's own session locks both rows, as the parent's end does."""
    for number in range(10):
        await store.runs.accept(new_run(f"run_{number}"))

    results = await all_at_once(
        *(
            work
            for number in range(10)
            for work in (
                store.runs.accept(
                    new_run(f"child_{number}", f"s-run_{number}", parent_run_id=f"run_{number}")
                ),
                store.steps.finalize(f"run_{number}", DONE),
            )
        )
    )

    failed = [one for one in results if isinstance(one, BaseException)]
    assert {type(one).__name__ for one in failed} <= {"RunTerminalError"}


async def test_of_ten_openings_at_once_the_latest_owns_the_step(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    await asyncio.gather(*(store.steps.open(execution("run_1")) for _ in range(10)))

    step = await store.one("SELECT * FROM steps")
    assert 1 <= step["attempt"] <= 10
    await store.steps.close(Attempt("run_1", "llm-1-1", step["attempt"]), answer())
    await check_log(store, "run_1")


async def test_runs_do_not_wait_for_each_other(store: StoreBox) -> None:
    async def life(name: str) -> None:
        await store.runs.accept(new_run(name))
        attempt = await open_step(store, name)
        for index in range(1, 6):
            await store.steps.append_delta(attempt, "x", index)
        await store.steps.close(attempt, answer(last_delta="", text="xxxxx"))
        assert (await store.steps.finalize(name, DONE)).changed

    await asyncio.gather(*(life(f"run_{number}") for number in range(30)))

    for number in range(30):
        await check_log(store, f"run_{number}")
