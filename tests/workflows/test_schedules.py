"""Schedules on a real Temporal server: what fires, once, and how overlaps and ends are judged."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError

from activities.schedules import ASK
from adapters.schedules import TemporalSchedules, temporal_schedule_id
from domain.acceptance import Page
from domain.event import EventType
from domain.intake import StartRun
from domain.order import FireOrder
from domain.principal import LOCAL_OWNER
from domain.run import Run, RunState
from domain.schedule import (
    Firing,
    Overlap,
    Schedule,
    SchedulePolicy,
    ScheduleSpec,
    workflow_of,
)
from domain.scheduling import NewSchedule, ScheduleChanges, Scheduling
from domain.session import OnBusy
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage
from workflows.fire import FireWorkflow

pytestmark = pytest.mark.timeout(120)
LONG = "tokens=5000 gap_ms=50"
YEARLY = ScheduleSpec(cron=("0 0 1 1 *",))


class Desk:
    """Schedules of one stage, as a person keeps them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.engine = TemporalSchedules(stage.gateway)
        self.keeping = Scheduling(stage.storage.schedules, self.engine)
        self.book = stage.storage.schedules

    async def make(
        self, content: str = "say hello", spec: ScheduleSpec = YEARLY, **fields: Any
    ) -> Schedule:
        """Make a schedule of its own; `policy` are fields of it."""
        name = f"s-{self.stage.settings.task_queue}-{len(await self.book.every())}"
        ask = StartRun(
            content=content,
            agent_id=fields.pop("agent_id", "helper"),
            session_id=fields.pop("session_id", None),
            metadata={"mine": 1},
        )
        new = NewSchedule(
            uid=name,
            schedule_id=fields.pop("schedule_id", name),
            owner=LOCAL_OWNER,
            run=json.dumps({"input": content}),
            ask=ASK.dump_json(ask).decode(),
            spec=spec,
            policy=SchedulePolicy(**fields.pop("policy", {})),
            paused=fields.pop("paused", False),
            note="",
            created_by="ann",
        )
        return await self.keeping.create(new)

    async def trigger(self, schedule: Schedule, overlap: Overlap | None = None) -> None:
        await self.keeping.trigger(LOCAL_OWNER, schedule.schedule_id, overlap)

    async def firings(self, schedule: Schedule) -> list[Firing]:
        """Return what a schedule has started, oldest first."""
        found, _ = await self.book.firings(schedule.uid, Page(1000))
        return list(reversed(found))

    async def fired(self, schedule: Schedule, count: int = 1) -> list[Firing]:
        """Wait until it has fired so often."""

        async def has() -> bool:
            return len(await self.firings(schedule)) >= count

        await self.stage.until(f"{count} firings", has)
        return await self.firings(schedule)

    async def run_of(self, schedule: Schedule, number: int = 1) -> Run:
        """Return the run of the `number`-th firing."""
        firing = (await self.fired(schedule, number))[number - 1]
        assert firing.run_id is not None, firing
        return await self.stage.get(firing.run_id)

    async def closed(self, firing: Firing) -> WorkflowExecutionStatus:
        """Wait until a firing's workflow is closed and return how."""
        handle = self.stage.client.get_workflow_handle(workflow_of(firing.firing_id))
        status: list[WorkflowExecutionStatus] = []

        async def is_closed() -> bool:
            found = (await handle.describe()).status
            assert found is not None
            status[:] = [found]
            return found is not WorkflowExecutionStatus.RUNNING

        await self.stage.until("the firing's end", is_closed)
        return status[0]

    async def apart(self) -> None:
        """Wait for the next second: Temporal tells two triggers of one second not apart."""
        now = datetime.now(UTC)
        await asyncio.sleep(1.01 - now.microsecond / 1e6)


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


async def test_overlap_looks_at_the_run_and_not_at_its_start(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make(LONG)
    await desk.trigger(schedule)
    run = await desk.run_of(schedule)
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)

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
    schedule = await desk.make(LONG, policy={"overlap": "cancel_other"})
    await desk.trigger(schedule)
    run = await desk.run_of(schedule)
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
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
    schedule = await desk.make(LONG, policy={"overlap": "terminate_other"})
    await desk.trigger(schedule)
    run = await desk.run_of(schedule)
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
    await desk.apart()

    await desk.trigger(schedule)
    second = await desk.run_of(schedule, 2)

    assert (await stage.ended(run.run_id)).state is RunState.CANCELLED
    await stage.intake.cancel(ANN, second.run_id, None)


async def test_a_terminated_firing_takes_its_run_with_it(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make(LONG)
    await desk.trigger(schedule)
    run = await desk.run_of(schedule)
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
    (firing,) = await desk.firings(schedule)

    await stage.client.get_workflow_handle(workflow_of(firing.firing_id)).terminate()
    assert (await stage.reconcile())["schedules"] == 1

    assert (await stage.ended(run.run_id)).state is RunState.CANCELLED


async def test_a_firing_that_is_reset_finds_its_run(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make(LONG)
    await desk.trigger(schedule)
    run = await desk.run_of(schedule)
    await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
    (firing,) = await desk.firings(schedule)

    await reset(stage, workflow_of(firing.firing_id))
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

    await reset(stage, f"run-{run.run_id.removeprefix('run_')}")

    assert (await stage.ended(run.run_id)).state is RunState.DONE
    assert await desk.closed(firing) is WorkflowExecutionStatus.COMPLETED


async def reset(stage: Stage, workflow_id: str) -> None:
    """Have Temporal begin a workflow anew from its first workflow task."""
    found = await stage.client.get_workflow_handle(workflow_id).describe()
    await stage.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=stage.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=found.run_id),
            workflow_task_finish_event_id=4,
            request_id=f"reset-{workflow_id}",
            reason="a test",
        )
    )


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


async def test_a_run_of_a_schedule_may_interrupt_its_session(stage: Stage) -> None:
    desk = Desk(stage)
    before = await stage.start(LONG, session_id="s", on_busy=OnBusy.INTERRUPT)
    schedule = await desk.make("say later", session_id="s")
    await stage.seen(before.run_id, EventType.AGENT_STREAM_DELTA)

    await desk.trigger(schedule)

    assert (await stage.ended(before.run_id)).state is RunState.CANCELLED
    assert (await stage.ended((await desk.run_of(schedule)).run_id)).state is RunState.DONE


async def test_a_schedule_may_steer_the_run_of_another(stage: Stage) -> None:
    """Its firing lasts as long as that run, and cancels it not."""
    desk = Desk(stage)
    before = await stage.start("tokens=40 gap_ms=20", session_id="s", on_busy=OnBusy.STEER)
    schedule = await desk.make("say more", session_id="s")
    await stage.seen(before.run_id, EventType.AGENT_STREAM_DELTA)

    await desk.trigger(schedule)
    (firing,) = await desk.fired(schedule)
    await stage.client.get_workflow_handle(workflow_of(firing.firing_id)).cancel()

    assert firing.run_id == before.run_id
    assert (await stage.ended(before.run_id)).state is RunState.DONE
    assert await desk.closed(firing) is WorkflowExecutionStatus.COMPLETED


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
        schedule = await desk.make()
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
    schedule = await desk.make()

    await desk.keeping.delete(LOCAL_OWNER, schedule.schedule_id)

    assert await desk.book.every() == []
    assert await desk.engine.upcoming(schedule.uid) == ()
    with pytest.raises(WorkflowFailureError):
        await stage.client.execute_workflow(
            FireWorkflow.run,
            FireOrder(uid=schedule.uid),
            id=f"fire-{schedule.uid}-late",
            task_queue=stage.settings.task_queue,
        )
    assert await stage.rows("SELECT * FROM runs") == []


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


async def test_a_span_is_made_up_for_once(stage: Stage) -> None:
    desk = Desk(stage)
    spec = ScheduleSpec.model_validate({"intervals": [{"every_seconds": 3600}]})
    schedule = await desk.make(spec=spec, paused=True)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    span = (int((end - timedelta(hours=2)).timestamp() * 1000), int(end.timestamp() * 1000))

    await desk.keeping.backfill(LOCAL_OWNER, schedule.schedule_id, span, Overlap.BUFFER_ALL)
    await desk.fired(schedule, 3)
    await desk.keeping.backfill(LOCAL_OWNER, schedule.schedule_id, span, Overlap.BUFFER_ALL)
    for firing in await desk.firings(schedule):
        await desk.closed(firing)

    times = [firing.scheduled_at for firing in await desk.firings(schedule)]
    assert times == [span[0], span[0] + 3_600_000, span[1]]


async def upcoming(desk: Desk, since: str, **spec: Any) -> list[str]:
    """Return the next times of a spec from a day in the future on, in UTC."""
    whole = {"timezone": "Europe/Berlin", "start_at": f"{since}T00:00:00Z", **spec}
    schedule = await desk.make(spec=ScheduleSpec.model_validate(whole))
    times = await desk.engine.upcoming(schedule.uid)
    return [datetime.fromtimestamp(ms / 1000, UTC).strftime("%m-%d %H:%M") for ms in times]


async def test_days_on_which_clocks_move_fire_at_most_once(stage: Stage) -> None:
    """Fault 40: 2:30 does not exist on 28 March 2027, and comes twice on 31 October."""
    desk = Desk(stage)
    nightly = {"cron": ["30 2 * * *"]}

    spring = await upcoming(desk, "2027-03-26", **nightly)
    autumn = await upcoming(desk, "2027-10-29", **nightly)

    assert spring[:3] == ["03-26 01:30", "03-27 01:30", "03-29 00:30"]
    assert autumn[:4] == ["10-29 00:30", "10-30 00:30", "10-31 01:30", "11-01 01:30"]


async def test_temporal_reads_times_as_we_do(stage: Stage) -> None:
    desk = Desk(stage)

    either = await upcoming(desk, "2026-12-01", cron=["0 12 13,24 * fri"], timezone="UTC")
    workdays = await upcoming(
        desk,
        "2026-12-01",
        calendars=[{"hour": "9-17/4", "day_of_week": "mon-fri"}],
        skip=[{"hour": "*", "minute": "*", "second": "*", "day_of_month": "2"}],
        timezone="UTC",
    )
    sundays = await upcoming(desk, "2026-12-01", cron=["0 0 * * 7"], timezone="UTC")

    assert either[:6] == [f"12-{day} 12:00" for day in ("04", "11", "13", "18", "24", "25")]
    assert workdays[:4] == ["12-01 09:00", "12-01 13:00", "12-01 17:00", "12-03 09:00"]
    assert sundays[:2] == ["12-06 00:00", "12-13 00:00"]


async def test_schedules_of_another_cluster_are_left_alone(make_stage: Make) -> None:
    async with make_stage(works=False) as stage:
        desk = Desk(stage)
        stage.gateway.mismatch = "another cluster"

        schedule = await desk.make()

        assert not (await desk.book.get(None, schedule.schedule_id)).is_applied
        stage.gateway.mismatch = None
        assert not await desk.engine.agrees(schedule)
