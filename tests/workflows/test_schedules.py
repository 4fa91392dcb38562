"""Schedules on a real Temporal server: what fires, once, and where the row is the record."""

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from adapters.schedules import temporal_schedule_id
from domain.event import EventType
from domain.order import FireOrder
from domain.principal import LOCAL_OWNER
from domain.run import RunState
from domain.schedule import ScheduleSpec, workflow_of
from domain.scheduling import ScheduleChanges
from tests.rig.resets import reset, reset_workflow
from tests.workflows.conftest import Make
from tests.workflows.desk import LONG, Desk
from tests.workflows.stage import ANN, Stage
from workflows.fire import FireWorkflow

pytestmark = pytest.mark.timeout(120)


async def test_a_firing_is_a_run_like_any_other(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make()

    await desk.trigger(schedule)
    run = await stage.ended((await desk.run_of(schedule)).run_id)

    (firing,) = await desk.firings(schedule)
    assert run.state is RunState.DONE
    assert run.owner == LOCAL_OWNER
    assert run.metadata["mine"] == 1
    assert run.metadata["schedule"]["schedule_id"] == schedule.schedule_id
    assert await desk.closed(firing) is WorkflowExecutionStatus.COMPLETED
    assert await stage.closed(run.run_id) is WorkflowExecutionStatus.COMPLETED
    (seen,) = await desk.firings(schedule)
    assert (seen.state, seen.ended_at is not None) == (RunState.DONE, True)


async def test_a_schedule_fires_by_itself_at_its_times(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make(
        spec=ScheduleSpec.model_validate({"intervals": [{"every_seconds": 1}]})
    )

    firings = await desk.fired(schedule, 3)

    times = [firing.scheduled_at for firing in firings[:3]]
    assert all(time % 1000 == 0 for time in times)
    assert len(set(times)) == 3
    assert len({firing.run_id for firing in firings}) == len(firings)


async def test_a_failed_run_is_a_failed_firing_and_may_pause(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make("fail bad_request", policy={"pause_on_failure": True})

    await desk.trigger(schedule)
    (firing,) = await desk.fired(schedule)

    assert await desk.closed(firing) is WorkflowExecutionStatus.FAILED
    paused = await desk.book.get(None, schedule.schedule_id)
    assert paused.paused
    assert str(firing.run_id) in paused.note
    await stage.reconcile()
    assert await desk.engine.agrees(await desk.book.get(None, schedule.schedule_id))


async def test_a_firing_without_a_run_says_why(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make(agent_id="nobody")

    await desk.trigger(schedule)
    (firing,) = await desk.fired(schedule)

    assert (firing.run_id, firing.error_code) == (None, "not_found")
    assert await desk.closed(firing) is WorkflowExecutionStatus.FAILED


async def test_a_firing_that_is_reset_finds_its_run(stage: Stage) -> None:
    desk = Desk(stage)
    schedule, run = await desk.streaming()
    (firing,) = await desk.firings(schedule)

    await reset_workflow(stage.client, workflow_of(firing.firing_id))
    await stage.intake.cancel(ANN, run.run_id, None)

    assert await desk.closed(firing) is WorkflowExecutionStatus.COMPLETED
    assert [one.run_id for one in await desk.firings(schedule)] == [run.run_id]
    assert len(await stage.rows("SELECT run_id FROM runs")) == 1


async def test_a_run_that_is_reset_still_ends_its_firing(stage: Stage) -> None:
    """Temporal's own child handle would be lost: the end is read in the store."""
    desk = Desk(stage)
    schedule = await desk.make("tokens=40 gap_ms=20 first_ms=300")
    await desk.trigger(schedule)
    run = await desk.run_of(schedule)
    await stage.seen(run.run_id, EventType.AGENT_INVOKE_STARTED)
    (firing,) = await desk.firings(schedule)

    await reset(stage.client, run.run_id)

    assert (await stage.ended(run.run_id)).state is RunState.DONE
    assert await desk.closed(firing) is WorkflowExecutionStatus.COMPLETED


async def test_a_firing_is_never_two_runs(stage: Stage) -> None:
    """Even when Temporal has forgotten the first workflow of it."""
    desk = Desk(stage)
    schedule = await desk.make()
    await desk.trigger(schedule)
    run = await stage.ended((await desk.run_of(schedule)).run_id)
    (firing,) = await desk.firings(schedule)
    await desk.closed(firing)

    again = await stage.client.execute_workflow(
        FireWorkflow.run,
        FireOrder(uid=schedule.uid),
        id=workflow_of(firing.firing_id),
        task_queue=stage.settings.task_queue,
    )

    assert again.state == RunState.DONE
    assert [row["run_id"] for row in await stage.rows("SELECT run_id FROM runs")] == [run.run_id]


async def test_a_lost_wake_is_repeated(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make(LONG)
    await desk.trigger(schedule)
    run = await desk.run_of(schedule)
    (firing,) = await desk.firings(schedule)
    assert stage.worker is not None
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
    # Nobody is told: as if the worker had died between the commit and the signal.
    await stage.change(
        "UPDATE runs SET state = 'DONE', ended_at = 1 WHERE run_id = :run", run=run.run_id
    )

    await stage.reconcile()

    assert await desk.closed(firing) is WorkflowExecutionStatus.COMPLETED


@pytest.mark.parametrize("spoil", ["remove", "pause", "change"])
async def test_the_row_is_the_record(make_stage: Make, spoil: str) -> None:
    async with make_stage(passes=False) as stage:
        desk = Desk(stage)
        schedule = await desk.settled()
        handle = stage.client.get_schedule_handle(temporal_schedule_id(schedule.uid))
        if spoil == "remove":
            await handle.delete()
        elif spoil == "pause":
            await handle.pause(note="by hand")
        else:
            await stage.change("UPDATE schedules SET revision = 7")
        now = await desk.book.get(None, schedule.schedule_id)
        assert not await desk.engine.agrees(now)

        assert (await stage.reconcile())["schedules"] == 1

        now = await desk.book.get(None, schedule.schedule_id)
        assert await desk.engine.agrees(now)
        assert now.is_applied
        assert "schedules" not in await stage.reconcile()


async def test_a_deleted_schedule_fires_no_more(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.settled()
    (run,) = await stage.rows("SELECT run_id FROM runs")

    await desk.keeping.delete(LOCAL_OWNER, schedule.schedule_id)

    assert await desk.engine.upcoming(schedule.uid) == ()
    with pytest.raises(WorkflowFailureError):
        await stage.client.execute_workflow(
            FireWorkflow.run,
            FireOrder(uid=schedule.uid),
            id=f"fire-{schedule.uid}-late",
            task_queue=stage.settings.task_queue,
        )
    assert await stage.rows("SELECT run_id FROM runs") == [run]


async def test_what_was_paused_while_temporal_was_away_does_not_fire(make_stage: Make) -> None:
    async with make_stage(passes=False) as stage:
        desk = Desk(stage)
        schedule = await desk.make()
        await desk.book.change(LOCAL_OWNER, schedule.schedule_id, ScheduleChanges(paused=True))

        handle = stage.client.get_schedule_handle(temporal_schedule_id(schedule.uid))
        await handle.trigger()
        (firing,) = await desk.fired(schedule)

        assert (firing.run_id, firing.error_code) == (None, "schedule_paused")


async def test_a_paused_schedule_is_triggered_by_hand(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make(paused=True)

    await desk.trigger(schedule)

    assert (await stage.ended((await desk.run_of(schedule)).run_id)).state is RunState.DONE
    assert await desk.engine.upcoming(schedule.uid) == ()


async def test_schedules_of_another_cluster_are_left_alone(make_stage: Make) -> None:
    async with make_stage(works=False) as stage:
        desk = Desk(stage)
        stage.gateway.mismatch = "another cluster"

        schedule = await desk.make()

        assert not (await desk.book.get(None, schedule.schedule_id)).is_applied
        stage.gateway.mismatch = None
        assert not await desk.engine.agrees(schedule)
