"""Runs whose work begins later, and deadlines: what the store says of them."""

import pytest

from domain.acceptance import IdempotencyKey
from domain.errors import InvalidRequestError, SessionBusyError
from domain.run import RunState, WaitingOn
from domain.step import Beginning
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    OWNER,
    answer,
    check_log,
    new_run,
    open_step,
    transcript,
    types,
)

HOUR = 3_600_000


async def later(store: StoreBox, run_id: str = "run_1", **fields: object) -> int:
    """Accept a run that begins in an hour; return when."""
    start = store.clock.now + HOUR
    await store.runs.accept(new_run(run_id, "s", start_at=start, **fields))
    return start


async def test_a_run_that_starts_later_holds_no_session_until_then(store: StoreBox) -> None:
    start = await later(store)
    session = await store.directory.get_session(OWNER, "s")
    assert (session.active_run_id, session.queued_run_ids) == (None, ())

    early = await store.steps.begin("run_1", "temporal-1")
    again = await store.steps.begin("run_1", "temporal-1")
    waits = await store.runs.get_run(OWNER, "run_1")
    store.clock.now = start
    due = await store.steps.begin("run_1", "temporal-1")

    assert early.state == again.state == "early"
    assert early.early_ms is not None
    assert 0 < early.early_ms <= HOUR
    assert (waits.state, waits.waiting_on) == (RunState.RUNNING, WaitingOn.TIMER)
    assert (due, await store.steps.begin("run_1", "temporal-1")) == (
        Beginning("held"),
        Beginning("held"),
    )
    assert (await store.directory.get_session(OWNER, "s")).active_run_id == "run_1"
    assert await transcript(store, "s") == [("user", "hello from run_1")]
    assert await types(store, "run_1") == [
        *("user_input", "run_started", "run_waiting", "run_resumed")
    ]
    await store.steps.close(await open_step(store, "run_1"), answer())
    await store.steps.finalize("run_1", DONE)
    await check_log(store, "run_1")


async def test_what_was_said_meanwhile_comes_first(store: StoreBox) -> None:
    start = await later(store)
    await store.runs.accept(new_run("run_2", "s"))
    await store.steps.close(await open_step(store, "run_2"), answer("first"))
    store.clock.now = start

    queued = await store.steps.begin("run_1", "temporal-1")
    finished = await store.steps.finalize("run_2", DONE)

    assert queued == Beginning("queued")
    assert finished.woken_run_id == "run_1"
    assert await store.steps.read_turn("run_1", "temporal-1") == "held"
    assert [text for _, text in await transcript(store, "s")] == [
        *("hello from run_2", "first", "hello from run_1")
    ]


async def test_a_session_that_is_needed_later_is_not_deleted(store: StoreBox) -> None:
    await later(store)

    with pytest.raises(SessionBusyError):
        await store.directory.delete_session(OWNER, "s")

    await store.steps.finalize("run_1", CANCELLED)
    await store.directory.delete_session(OWNER, "s")


async def test_a_run_that_is_cancelled_before_its_time_takes_no_session(store: StoreBox) -> None:
    start = await later(store)
    await store.runs.ask_cancel(OWNER, "run_1", "not needed")
    store.clock.now = start

    assert await store.steps.begin("run_1", "temporal-1") == Beginning("ended")
    await store.steps.finalize("run_1", CANCELLED)

    assert (await store.directory.get_session(OWNER, "s")).active_run_id is None
    assert await store.steps.begin("run_1", "temporal-1") == Beginning("ended")
    await check_log(store, "run_1")


async def test_a_run_that_came_too_late_to_wait_begins_at_once(store: StoreBox) -> None:
    start = await later(store)
    store.clock.now = start + 5

    assert await store.steps.begin("run_1", "temporal-1") == Beginning("held")

    assert await types(store, "run_1") == ["user_input", "run_started"]
    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on is None


async def test_a_deadline_that_makes_no_sense_is_refused(store: StoreBox) -> None:
    now = store.clock.now
    for deadline in (now, now + HOUR):
        with pytest.raises(InvalidRequestError, match="deadline") as refused:
            await later(store, deadline_at=deadline)
        assert refused.value.field == "deadline"

    await later(store, deadline_at=now + HOUR + 60_000)


async def test_a_repeated_request_finds_its_run_after_the_deadline(store: StoreBox) -> None:
    key = IdempotencyKey("start", "k", "same")
    deadline = store.clock.now + 1000
    new = new_run("run_1", deadline_at=deadline, idempotency=key)
    await store.runs.accept(new)
    store.clock.now += 5000

    assert (await store.runs.accept(new)).replayed
    assert (await store.runs.get_run(OWNER, "run_1")).deadline_at == deadline
