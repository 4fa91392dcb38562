"""Firings that meet: of one schedule, of one session, or with their own end."""

import pytest
from temporalio.client import WorkflowExecutionStatus

from domain.event import EventType
from domain.run import RunState
from domain.schedule import Overlap, workflow_of
from domain.session import OnBusy
from tests.workflows.desk import LONG, Desk
from tests.workflows.stage import ANN, Stage

pytestmark = pytest.mark.timeout(120)


async def test_overlap_looks_at_the_run_and_not_at_its_start(stage: Stage) -> None:
    desk = Desk(stage)
    schedule, run = await desk.streaming()

    await desk.apart()
    await desk.trigger(schedule, Overlap.SKIP)
    await desk.apart()
    await desk.trigger(schedule, Overlap.BUFFER_ONE)
    assert len(await desk.firings(schedule)) == 1
    await stage.intake.cancel(ANN, run.run_id, None)

    second = await desk.run_of(schedule, 2)
    first = await stage.get(run.run_id)
    assert first.state is RunState.CANCELLED
    assert first.ended_at is not None
    assert second.created_at >= first.ended_at
    await stage.intake.cancel(ANN, second.run_id, None)


async def test_cancel_other_ends_the_run_before_the_next_begins(stage: Stage) -> None:
    desk = Desk(stage)
    schedule, run = await desk.streaming(policy={"overlap": "cancel_other"})
    await desk.apart()

    await desk.trigger(schedule)
    second = await desk.run_of(schedule, 2)

    first = await stage.get(run.run_id)
    assert first.state is RunState.CANCELLED
    assert first.ended_at is not None
    assert second.created_at >= first.ended_at
    await stage.intake.cancel(ANN, second.run_id, None)


async def test_terminate_other_cancels_the_run_too(stage: Stage) -> None:
    desk = Desk(stage)
    schedule, run = await desk.streaming(policy={"overlap": "terminate_other"})
    await desk.apart()

    await desk.trigger(schedule)
    second = await desk.run_of(schedule, 2)

    assert (await stage.ended(run.run_id)).state is RunState.CANCELLED
    await stage.intake.cancel(ANN, second.run_id, None)


async def test_a_terminated_firing_takes_its_run_with_it(stage: Stage) -> None:
    desk = Desk(stage)
    schedule, run = await desk.streaming()
    (firing,) = await desk.firings(schedule)

    await stage.client.get_workflow_handle(workflow_of(firing.firing_id)).terminate()
    assert (await stage.reconcile())["schedules"] == 1

    assert (await stage.ended(run.run_id)).state is RunState.CANCELLED


async def test_runs_of_one_session_wait_for_their_turn(stage: Stage) -> None:
    desk = Desk(stage)
    before = await stage.start(LONG, session_id="s")
    schedule = await desk.make("say later", session_id="s")
    await stage.seen(before.run_id, EventType.AGENT_STREAM_DELTA)

    await desk.trigger(schedule)
    run = await desk.run_of(schedule)
    await stage.seen(run.run_id, EventType.RUN_WAITING)
    await stage.intake.cancel(ANN, before.run_id, None)

    assert (await stage.ended(run.run_id)).state is RunState.DONE


async def says_when_busy(stage: Stage, policy: OnBusy) -> None:
    """Set what becomes of the messages of session `s` while a run is on."""
    await stage.storage.directory.update_session(ANN.owner, "s", {"on_busy": policy})


async def test_a_run_of_a_schedule_may_interrupt_its_session(stage: Stage) -> None:
    desk = Desk(stage)
    before = await stage.start(LONG, session_id="s")
    await says_when_busy(stage, OnBusy.INTERRUPT)
    schedule = await desk.make("say later", session_id="s")
    await stage.seen(before.run_id, EventType.AGENT_STREAM_DELTA)

    await desk.trigger(schedule)

    assert (await stage.ended(before.run_id)).state is RunState.CANCELLED
    assert (await stage.ended((await desk.run_of(schedule)).run_id)).state is RunState.DONE


async def test_a_schedule_may_steer_the_run_of_another(stage: Stage) -> None:
    """Its firing lasts as long as that run, and cancels it not."""
    desk = Desk(stage)
    before = await stage.start("tokens=80 gap_ms=20", session_id="s")
    await says_when_busy(stage, OnBusy.STEER)
    schedule = await desk.make("say more", session_id="s")
    await stage.seen(before.run_id, EventType.AGENT_STREAM_DELTA)

    await desk.trigger(schedule)
    (firing,) = await desk.fired(schedule)
    await stage.client.get_workflow_handle(workflow_of(firing.firing_id)).cancel()

    assert firing.run_id == before.run_id
    assert (await stage.ended(before.run_id)).state is RunState.DONE
    assert await desk.closed(firing) is WorkflowExecutionStatus.COMPLETED
