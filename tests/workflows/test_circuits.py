"""Runs that wait for the circuit of their only model: none is left asleep when it closes.

The cool-down is longer than any test waits: who slept through it would never be seen to end.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.store.spending import health
from domain.event import EventType
from domain.run import Run, RunState, WaitingOn
from tests.workflows.conftest import Make
from tests.workflows.stage import Stage
from tests.workflows.test_dead_letters import letters

MODEL = "openai/first"
LONG_SECONDS = 600.0
RUNS = 6


@pytest.fixture
async def shut(make_stage: Make) -> AsyncIterator[Stage]:
    """A stage whose model answered a moment ago, and failed three times since."""
    async with make_stage(breaker_cooldown_seconds=LONG_SECONDS) as stage:
        await stage.agent(models=(MODEL,))
        now = stage.storage.clock.now_ms()
        await stage.change(
            "INSERT INTO model_health (model, failures, open_until, error_class, last_ok_at,"
            " updated_at) VALUES (:model, 3, :until, 'server_error', :now, :now)",
            model=MODEL,
            until=now + int(LONG_SECONDS * 1000),
            now=now,
        )
        yield stage


async def waiting(stage: Stage) -> list[Run]:
    """Start runs in sessions of their own, and return them once each says what it waits for."""
    runs = [await stage.start(f"[[tokens=3 first_ms=100]] {n}") for n in range(RUNS)]
    await asyncio.gather(*(stage.seen(run.run_id, EventType.RUN_WAITING) for run in runs))
    return runs


async def test_all_that_wait_go_on_once_one_of_them_was_answered(shut: Stage) -> None:
    runs = await waiting(shut)
    parked = await shut.get(runs[0].run_id)
    assert shut.provider.log == []

    await shut.change("UPDATE model_health SET open_until = 1")
    done = await asyncio.gather(*(shut.ended(run.run_id) for run in runs))

    assert parked.waiting_on is WaitingOn.MODEL
    assert [run.state for run in done] == [RunState.DONE] * RUNS
    tried, *others = shut.provider.log
    assert len(others) == RUNS - 1
    assert tried.ended_ns is not None
    assert all(other.at_ns > tried.ended_ns for other in others), "one tries, alone"
    for run in runs:
        kinds = await shut.kinds(run.run_id)
        assert (kinds.count(EventType.RUN_WAITING), kinds.count(EventType.RUN_RESUMED)) == (1, 1)


async def test_all_that_wait_go_on_when_a_call_that_was_under_way_is_answered(shut: Stage) -> None:
    runs = await waiting(shut)

    now = shut.storage.clock.now_ms()
    await shut.storage.engine.write(lambda tx: health.note_success(tx, MODEL, now))
    done = await asyncio.gather(*(shut.ended(run.run_id) for run in runs))

    assert [run.state for run in done] == [RunState.DONE] * RUNS


async def test_other_sessions_on_the_model_go_on_after_a_dead_letter(make_stage: Make) -> None:
    async with make_stage(breaker_cooldown_seconds=1.0) as stage:
        await stage.agent(models=(MODEL,))
        dead = await stage.run("[[status=500]] hello")

        runs = await asyncio.gather(*(stage.run(f"[[tokens=3]] {n}") for n in range(RUNS)))

        assert dead.error is not None
        assert await letters(stage) == [(dead.run_id, "model_unavailable", "llm-1-1")]
        assert [run.state for run in runs] == [RunState.DONE] * RUNS
