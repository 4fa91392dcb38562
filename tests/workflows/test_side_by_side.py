"""Calls that wait side by side: each goes on by its own news, and the others are left alone."""

import asyncio
import gc
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType as HistoryType
from temporalio.exceptions import ActivityError

from domain.agent import Limits
from domain.approval import Answer
from domain.event import EventType
from domain.run import RunState
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage
from workflows.outcomes import tell_of

ASK = {"rules": [{"tool": "*", "decision": "ask"}]}
APPROVED = Answer(approved=True, by=ANN.name)
COUNT = 6


async def parked(stage: Stage) -> tuple[str, list[str]]:
    """Start a run whose calls all wait for people; return it and its questions."""
    await stage.agent(tools=("calculator",), tool_policy=ASK)
    calls = [f'call calculator {{"expression": "{n} * 10"}}' for n in range(1, COUNT + 1)]
    run = await stage.start("\n".join(calls) + "\n---\nsay done")
    await stage.seen(run.run_id, EventType.APPROVAL_REQUIRED, COUNT)
    return run.run_id, list(await stage.storage.approvals.pending(None))


async def looks(stage: Stage, run_id: str) -> Counter[str]:
    """Count how often each step was given to a worker."""
    scheduled = HistoryType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    return Counter(
        entry.activity_task_scheduled_event_attributes.activity_id
        for entry in await stage.history(run_id)
        if entry.event_type == scheduled
    )


async def test_a_decision_makes_its_own_call_go_on_and_no_other(stage: Stage) -> None:
    """Else a run that waits for n people would take n times n steps."""
    run_id, questions = await parked(stage)

    for number, approval_id in enumerate(questions, start=1):
        await stage.decide(approval_id)
        await stage.seen(run_id, EventType.TOOL_RESULT, number)

    assert (await stage.ended(run_id)).state is RunState.DONE
    steps = {f"tool-1-{n}": 2 for n in range(COUNT)}
    assert await looks(stage, run_id) == {"llm-1-1": 1, **steps, "llm-2-1": 1}


async def test_decisions_that_come_at_once_are_all_heard(stage: Stage) -> None:
    run_id, questions = await parked(stage)

    await asyncio.gather(*(stage.decide(one, n % 2 == 0) for n, one in enumerate(questions)))

    assert (await stage.ended(run_id)).state is RunState.DONE
    decided = Counter(
        one["decision"] for one in await stage.of_kind(run_id, EventType.APPROVAL_DECISION)
    )
    assert decided == {"approved": COUNT // 2, "rejected": COUNT // 2}
    assert set((await looks(stage, run_id)).values()) == {1, 2}


async def test_wakes_that_bring_nothing_cost_no_step(stage: Stage) -> None:
    run_id, questions = await parked(stage)

    for _ in range(3):
        await stage.gateway.wake(run_id)
    for approval_id in questions:
        await stage.decide(approval_id)

    await stage.ended(run_id)
    assert max((await looks(stage, run_id)).values()) == 2


async def test_a_decision_that_was_not_delivered_is_found_by_a_pass(make_stage: Make) -> None:
    async with make_stage(passes=False) as stage:
        run_id, questions = await parked(stage)
        for approval_id in questions:
            await stage.storage.approvals.decide(None, approval_id, APPROVED)

        assert await stage.reconcile() == {"wake": 1}

        assert (await stage.ended(run_id)).state is RunState.DONE


async def test_a_cap_ends_a_run_whose_calls_wait(stage: Stage) -> None:
    """Whoever listens for news ends with the calls."""
    await stage.agent(tools=("calculator",), tool_policy=ASK)
    two = 'call calculator {"expression": "6*7"}\n' * 2

    run = await stage.run(two, limits=Limits(max_seconds=0.5))

    assert run.error is not None
    assert run.error.code == "max_seconds"


async def test_a_cancel_while_news_are_read_leaves_no_failure_behind(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    run_id, questions = await parked(stage)
    gc.collect()
    caplog.clear()  # what the runs of other tests left

    async with asyncio.TaskGroup() as together:
        for approval_id in questions[:3]:
            together.create_task(stage.decide(approval_id))
        together.create_task(stage.intake.cancel(ANN, run_id, None))
    await stage.ended(run_id)
    await stage.closed(run_id)

    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_only_activities_that_were_cut_are_passed_over_in_silence() -> None:
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    cut = ActivityError(
        "failed",
        scheduled_event_id=1,
        started_event_id=2,
        identity="",
        activity_type="complete_chat",
        activity_id="llm-1-1",
        retry_state=None,
    )
    task = loop.create_task(asyncio.sleep(0))
    contexts: list[dict[str, Any]] = [
        {"exception": cut, "future": loop.create_future()},
        {"exception": cut, "future": task},
        {"exception": ValueError(), "future": loop.create_future()},
        {"message": "odd"},
    ]
    fake = SimpleNamespace(default_exception_handler=told.append)

    for context in contexts:
        tell_of(fake, context)  # type: ignore[arg-type] # all of a loop that it asks
    await task

    assert told == contexts[1:]
