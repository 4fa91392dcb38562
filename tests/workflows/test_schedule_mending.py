"""Schedules that fail, or that somebody spoils, on a real Temporal server."""

import logging
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Schedule as TemporalSchedule
from temporalio.client import ScheduleUpdate, ScheduleUpdateInput

from adapters.schedules import temporal_schedule_id
from domain.acceptance import IdempotencyKey
from domain.errors import EngineUnavailableError, InvalidRequestError
from domain.event import EventType
from domain.principal import LOCAL_OWNER
from domain.run import RunState
from domain.schedule import Schedule, ScheduleSpec, to_iso, workflow_of
from domain.scheduling import ScheduleChanges
from tests.workflows.conftest import Make
from tests.workflows.desk import LONG, Desk
from tests.workflows.stage import Stage

pytestmark = pytest.mark.timeout(120)
NONSENSE = '{"cron": ["0 0 1 1 *"], "start_at": "0001-01-01T00:00:00+14:00"}'
WRONG = ScheduleSpec(cron=("@daily",), timezone="Mars/Olympus")
"""Which zones there are is not known to the domain, but to Temporal."""


async def in_temporal(stage: Stage, schedule: Schedule) -> TemporalSchedule:
    handle = stage.client.get_schedule_handle(temporal_schedule_id(schedule.uid))
    return (await handle.describe()).schedule


async def test_nonsense_of_one_owner_stops_no_mending(
    make_stage: Make, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_stage(passes=False) as stage:
        desk = Desk(stage)
        bad, good, running = await desk.make(), await desk.settled(), await desk.make(LONG)
        await stage.change(
            "UPDATE schedules SET spec = :spec, revision = 2 WHERE uid = :uid",
            spec=NONSENSE,
            uid=bad.uid,
        )
        await stage.client.get_schedule_handle(temporal_schedule_id(good.uid)).delete()
        await desk.trigger(running)
        run = await desk.run_of(running)
        await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)
        (firing,) = await desk.firings(running)
        await stage.client.get_workflow_handle(workflow_of(firing.firing_id)).terminate()

        with caplog.at_level(logging.ERROR):
            assert (await stage.reconcile())["schedules"] == 2

        assert await desk.engine.agrees(await desk.book.get(None, good.schedule_id))
        assert (await stage.ended(run.run_id)).state is RunState.CANCELLED
        refused = await desk.book.get(None, bad.schedule_id)
        assert refused.paused
        assert "Temporal does not take it" in refused.note
        assert bad.schedule_id in caplog.text


async def test_what_temporal_refuses_is_said_and_changes_nothing(make_stage: Make) -> None:
    async with make_stage(passes=False) as stage:
        desk = Desk(stage)
        with pytest.raises(InvalidRequestError, match="Mars"):
            await desk.make(spec=WRONG)
        assert await desk.book.every() == []
        before = await desk.make()

        changes = ScheduleChanges(spec=WRONG)
        with pytest.raises(InvalidRequestError, match="Mars"):
            await desk.keeping.change(LOCAL_OWNER, before.schedule_id, changes)

        after = await desk.book.get(None, before.schedule_id)
        assert after == before
        assert await desk.engine.agrees(after)


async def test_a_schedule_that_goes_while_it_is_changed_is_made_again(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.settled()
    handle = stage.client.get_schedule_handle(temporal_schedule_id(schedule.uid))
    create, goes = stage.client.create_schedule, [True]

    async def create_late(schedule_id: str, wanted: TemporalSchedule) -> object:
        try:
            return await create(schedule_id, wanted)
        finally:
            if goes:
                goes.pop()
                await handle.delete()

    # Only so does it go between two calls of ours.
    stage.client.create_schedule = create_late  # type: ignore[method-assign, assignment]
    changed = await desk.keeping.change(
        LOCAL_OWNER, schedule.schedule_id, ScheduleChanges(note="again")
    )

    assert goes == []
    assert changed.is_applied
    assert (await in_temporal(stage, schedule)).state.note == "again"


async def test_what_is_removed_just_before_a_trigger_is_said(stage: Stage) -> None:
    desk = Desk(stage)

    with pytest.raises(EngineUnavailableError, match="try again"):
        await desk.engine.trigger("nobody", (await desk.make()).policy.overlap)


async def test_a_firing_without_a_run_pauses_both_sides_for_good(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make(agent_id="nobody", policy={"pause_on_failure": True})
    assert not (await in_temporal(stage, schedule)).policy.pause_on_failure

    await desk.trigger(schedule)
    (firing,) = await desk.fired(schedule)
    await desk.closed(firing)

    paused = await desk.book.get(None, schedule.schedule_id)
    assert (paused.paused, paused.is_applied) == (True, True)
    assert "nobody" in paused.note
    state = (await in_temporal(stage, schedule)).state
    assert (state.paused, state.note) == (True, paused.note)
    assert "schedules" not in await stage.reconcile()
    assert (await in_temporal(stage, schedule)).state.paused


async def test_a_failed_run_pauses_both_sides_at_once(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make("fail bad_request", policy={"pause_on_failure": True})

    await desk.trigger(schedule)
    (firing,) = await desk.fired(schedule)
    await desk.closed(firing)

    paused = await desk.book.get(None, schedule.schedule_id)
    assert (paused.paused, paused.is_applied) == (True, True)
    assert (await in_temporal(stage, schedule)).state.note == paused.note


async def test_temporals_own_pause_on_failure_is_taken_from_it(make_stage: Make) -> None:
    """As a schedule has it that was made before: it would pause behind the row's back."""
    async with make_stage(passes=False) as stage:
        desk = Desk(stage)
        schedule = await desk.make(policy={"pause_on_failure": True})

        def old(found: ScheduleUpdateInput) -> ScheduleUpdate:
            found.description.schedule.policy.pause_on_failure = True
            return ScheduleUpdate(found.description.schedule)

        await stage.client.get_schedule_handle(temporal_schedule_id(schedule.uid)).update(old)

        assert (await stage.reconcile())["schedules"] == 1

        assert not (await in_temporal(stage, schedule)).policy.pause_on_failure


async def test_a_run_names_the_time_of_its_firing_as_the_api_does(stage: Stage) -> None:
    desk = Desk(stage)
    schedule = await desk.make()

    await desk.trigger(schedule)
    run = await stage.ended((await desk.run_of(schedule)).run_id)

    (firing,) = await desk.firings(schedule)
    assert run.metadata["schedule"]["scheduled_at"] == to_iso(firing.scheduled_at)


async def test_a_trigger_that_is_repeated_with_its_key_is_one_firing(stage: Stage) -> None:
    """Even when nobody noted that Temporal had been told."""
    desk = Desk(stage)
    schedule = await desk.make()
    key = IdempotencyKey("trigger_schedule ann", "k", "f")

    await desk.keeping.trigger(LOCAL_OWNER, schedule.schedule_id, None, key)
    (firing,) = await desk.fired(schedule)
    await desk.closed(firing)
    await stage.change("UPDATE idempotency SET run_id = replace(run_id, ' done', '')")
    await desk.apart()
    _, replayed = await desk.keeping.trigger(LOCAL_OWNER, schedule.schedule_id, None, key)
    await desk.apart()

    assert not replayed
    assert [one.firing_id for one in await desk.firings(schedule)] == [firing.firing_id]
    _, replayed = await desk.keeping.trigger(LOCAL_OWNER, schedule.schedule_id, None, key)
    assert replayed


async def test_a_backfill_runs_every_time_one_after_the_other(stage: Stage) -> None:
    desk = Desk(stage)
    spec = ScheduleSpec.model_validate({"intervals": [{"every_seconds": 3600}]})
    schedule = await desk.make(spec=spec, paused=True)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    span = (int((end - timedelta(hours=2)).timestamp() * 1000), int(end.timestamp() * 1000))

    await desk.keeping.backfill(LOCAL_OWNER, schedule.schedule_id, span, None)

    firings = await desk.fired(schedule, 3)
    for firing in firings:
        await desk.closed(firing)
    assert [one.scheduled_at for one in firings] == [span[0], span[0] + 3_600_000, span[1]]


async def test_a_day_alone_is_left_out_as_a_whole(stage: Stage) -> None:
    desk = Desk(stage)
    spec = ScheduleSpec.model_validate(
        {
            "cron": ["30 7 * * *"],
            "skip": [{"day_of_week": "sat,sun"}],
            "start_at": "2027-01-01T00:00:00Z",
        }
    )

    times = await desk.engine.upcoming((await desk.make(spec=spec)).uid)

    assert [to_iso(ms)[:10] for ms in times[:3]] == ["2027-01-01", "2027-01-04", "2027-01-05"]
