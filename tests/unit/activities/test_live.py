"""The registry of attempts: stopped in milliseconds, drained, counted."""

import asyncio

import pytest

from activities.live import LiveAttempts, Stop


def _fail() -> None:
    raise ZeroDivisionError


def _registry(slots: int = 1) -> LiveAttempts:
    return LiveAttempts("w1", slots, 1000)


async def _hold(live: LiveAttempts, seen: list[Stop | None], *, drains: bool = True) -> None:
    with live.attempt("run_1", "llm-1-1", drains=drains) as one:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(one.stopped)


async def test_a_cancel_stops_the_attempts_of_its_run_alone() -> None:
    live = _registry()
    seen: list[Stop | None] = []
    task = asyncio.create_task(_hold(live, seen))
    await asyncio.sleep(0)

    assert live.cancel("run_2") == 0
    assert live.cancel("run_1") == 1
    await asyncio.gather(task, return_exceptions=True)

    assert seen == [Stop.CANCEL]


async def test_a_drain_stops_what_may_be_stopped_and_waits_for_the_rest() -> None:
    live = _registry(2)
    seen: list[Stop | None] = []
    quick = asyncio.create_task(_hold(live, seen))
    unsafe = asyncio.create_task(_hold(live, seen, drains=False))
    await asyncio.sleep(0)

    assert await live.drain(0.05) is False
    unsafe.cancel()
    assert await live.drain(2) is True
    await asyncio.gather(quick, unsafe, return_exceptions=True)

    assert seen == [Stop.DRAIN, None]


async def test_an_attempt_that_begins_during_a_drain_is_stopped_too() -> None:
    live = _registry()
    seen: list[Stop | None] = []
    await live.drain(1)

    await asyncio.gather(_hold(live, seen), return_exceptions=True)

    assert seen == [Stop.DRAIN]


async def test_slots_show_what_runs_and_count_what_ended() -> None:
    live = _registry(1)
    with live.attempt("run_1", "tool-1-0"):
        busy = live.slots()[0]
        assert live.runs("run_1", "tool-1-0")
    with pytest.raises(ZeroDivisionError), live.attempt("run_1", "tool-1-1"):
        _fail()
    idle = live.slots()[0]

    assert (busy.state, busy.current_step) == ("busy", "run_1:tool-1-0")
    assert (idle.state, idle.processed, idle.succeeded, idle.failed) == ("idle", 2, 1, 1)


async def test_an_answer_that_is_an_error_is_no_success_of_its_slot() -> None:
    live = _registry(1)
    with live.attempt("run_1", "tool-1-0") as one:
        one.is_error = True

    [slot] = live.slots()
    assert (slot.processed, slot.succeeded, slot.failed) == (1, 0, 1)


async def test_more_attempts_than_slots_get_slots_of_their_own() -> None:
    live = _registry(1)
    with live.attempt("run_1", "a"), live.attempt("run_2", "b"):
        assert [slot.state for slot in live.slots()] == ["busy", "busy"]
