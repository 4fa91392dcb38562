"""Start times, deadlines and priorities on the engine."""

import asyncio
import time
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus

from domain.agent import Limits
from domain.event import EventType
from domain.run import Run, RunState, WaitingOn
from tests.workflows.conftest import Make
from tests.workflows.stage import Stage

HOUR = 3_600_000


def soon(ms: int) -> int:
    return int(time.time() * 1000) + ms


async def begin_now(stage: Stage, run: Run) -> None:
    """Make a run's time come."""
    await stage.change("UPDATE runs SET start_at = 1 WHERE run_id = :id", id=run.run_id)
    await stage.gateway.wake(run.run_id)


async def waits(stage: Stage, **fields: Any) -> Run:
    """Start a run that begins in an hour and wait until it waits."""
    run = await stage.start("say hello", start_at=soon(HOUR), **fields)
    await stage.seen(run.run_id, EventType.RUN_WAITING)
    return await stage.get(run.run_id)


async def test_a_run_begins_when_its_time_has_come(stage: Stage) -> None:
    start = soon(400)

    run = await stage.run("say hello", start_at=start, limits=Limits(max_seconds=20))

    assert run.state is RunState.DONE
    (asked,) = [e for e in await stage.events(run.run_id) if e["type"] == "llm_call_started"]
    assert asked["ts"] >= start
    assert await stage.kinds(run.run_id) == [
        *("user_input", "run_started", "run_waiting", "run_resumed", "agent_invoke_started"),
        *("llm_call_started", "agent_stream_delta", "llm_call_done", "agent_invoke_done"),
        "run_done",
    ]


async def test_the_wait_does_not_count_for_the_cap_of_seconds(stage: Stage) -> None:
    """The cap is shorter than the wait."""
    run = await stage.run("say hello", start_at=soon(700), limits=Limits(max_seconds=0.5))

    assert run.state is RunState.DONE


async def test_a_run_that_waits_is_cancelled_at_once(stage: Stage) -> None:
    run = await waits(stage)
    assert (run.state, run.waiting_on) == (RunState.RUNNING, WaitingOn.TIMER)

    await stage.storage.runs.ask_cancel(None, run.run_id, "not needed")
    await stage.gateway.cancel(run.run_id)

    assert (await stage.ended(run.run_id)).state is RunState.CANCELLED
    assert await stage.closed(run.run_id) is WorkflowExecutionStatus.CANCELED


async def test_others_use_the_session_meanwhile(stage: Stage) -> None:
    run = await waits(stage, session_id="s")

    other = await stage.run("say first", session_id="s")
    holder = await stage.start("stall", session_id="s")
    await stage.seen(holder.run_id, EventType.LLM_CALL_STARTED)
    await begin_now(stage, run)
    await stage.seen(run.run_id, EventType.RUN_WAITING, count=2)
    assert (await stage.get(run.run_id)).waiting_on is WaitingOn.SESSION
    await stage.storage.runs.ask_cancel(None, holder.run_id, None)
    await stage.gateway.cancel(holder.run_id)

    assert (await stage.ended(run.run_id)).state is RunState.DONE
    assert other.state is RunState.DONE


async def test_the_wait_survives_a_reset_and_the_reconciler(stage: Stage) -> None:
    run = await waits(stage)
    await stage.gateway.wake(run.run_id)

    counts = await stage.reconcile()

    assert counts.get("close", 0) == counts.get("start", 0) == 0
    await begin_now(stage, run)
    assert (await stage.ended(run.run_id)).state is RunState.DONE


@pytest.mark.parametrize("script", ["stall", "tokens=5000 gap_ms=20"])
async def test_a_deadline_ends_a_run_that_is_at_work(stage: Stage, script: str) -> None:
    run = await stage.run(script, deadline_at=soon(500))

    assert run.state is RunState.FAILED
    assert run.error is not None
    assert run.error.code == "deadline_exceeded"
    assert run.ended_at is not None
    assert run.deadline_at is not None
    assert run.ended_at >= run.deadline_at


async def test_a_deadline_ends_a_run_that_waits_for_its_session(stage: Stage) -> None:
    await stage.start("stall", session_id="s")

    run = await stage.run("say hello", session_id="s", deadline_at=soon(500))

    assert run.error is not None
    assert run.error.code == "deadline_exceeded"


async def test_a_deadline_ends_a_wait_for_a_person(stage: Stage) -> None:
    ask = {"rules": [{"tool": "calculator", "decision": "ask"}]}
    await stage.agent(tools=["calculator"], tool_policy=ask)

    run = await stage.run('call calculator {"expression": "1+1"}', deadline_at=soon(600))

    assert run.error is not None
    assert run.error.code == "deadline_exceeded"
    (call,) = await stage.rows("SELECT status FROM tool_calls")
    assert call["status"] == "failed"


async def test_a_deadline_ends_a_run_before_it_began(make_stage: Make) -> None:
    """Its workers were away for too long."""
    async with make_stage(works=False) as stage:
        run = await stage.start("say hello", deadline_at=soon(300))
        await asyncio.sleep(0.35)  # the fact to wait for is the time itself
        await stage.work()

        ended = await stage.ended(run.run_id)

        assert ended.error is not None
        assert ended.error.code == "deadline_exceeded"
        assert ended.usage.model_calls == 0


async def test_what_matters_more_comes_first(make_stage: Make) -> None:
    """A backlog from before the worker: the run of priority 1 came last and is served before."""
    async with make_stage(works=False, worker_slots=1) as stage:
        slow = [await stage.start("say x", priority=5) for _ in range(12)]
        urgent = await stage.start("say x", priority=1)
        await stage.work()

        ended = [await stage.ended(run.run_id) for run in [*slow, urgent]]

        times = sorted(run.ended_at or 0 for run in ended[:-1])
        assert (ended[-1].ended_at or 0) < times[len(times) // 2]
