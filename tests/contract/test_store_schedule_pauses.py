"""Schedules on both databases: pauses after failures, changes taken back, what stays of one."""

import pytest

from domain.acceptance import IdempotencyKey, Page
from domain.errors import IdempotencyKeyConflictError, NotFoundError
from domain.schedule import SchedulePolicy, ScheduleSpec
from domain.scheduling import ScheduleChanges
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import DONE, FAILED, OWNER, new_run
from tests.contract.test_store_schedules import firing, new

PAUSES = SchedulePolicy(pause_on_failure=True)


@pytest.mark.parametrize("wants", [True, False])
async def test_a_firing_without_a_run_pauses_once_if_it_is_wanted(
    store: StoreBox, wants: bool
) -> None:
    await store.schedules.add(new(policy=SchedulePolicy(pause_on_failure=wants)))
    refused = firing(error_code="not_found", error_message="there is no agent nobody")

    await store.schedules.refuse(refused)
    found = await store.schedules.get(OWNER, "report")
    await store.schedules.change(OWNER, "report", ScheduleChanges(paused=False))
    await store.schedules.refuse(refused)

    assert (found.paused, found.revision) == (wants, 1 + wants)
    assert ("there is no agent nobody" in found.note) is wants
    assert not (await store.schedules.get(OWNER, "report")).paused


async def test_the_note_of_a_failure_names_the_run_and_why(store: StoreBox) -> None:
    await store.schedules.add(new(policy=PAUSES))
    await store.schedules.fire(new_run("run_1"), firing())

    await store.steps.finalize("run_1", FAILED)
    await store.schedules.settle("fire_1")

    note = (await store.schedules.get(OWNER, "report")).note
    assert note.startswith("paused because run run_1 failed: ")
    assert note.endswith("no model answered")


async def test_a_run_that_is_done_pauses_nothing(store: StoreBox) -> None:
    await store.schedules.add(new(policy=PAUSES))
    await store.schedules.fire(new_run("run_1"), firing())

    await store.steps.finalize("run_1", DONE)
    await store.schedules.settle("fire_1")

    assert not (await store.schedules.get(OWNER, "report")).paused


async def test_a_pause_is_of_the_revision_that_was_seen(store: StoreBox) -> None:
    await store.schedules.add(new())
    await store.schedules.change(OWNER, "report", ScheduleChanges(note="newer"))

    assert not await store.schedules.pause("u1", 1, "why")
    assert await store.schedules.pause("u1", 2, "why")
    assert not await store.schedules.pause("u1", 3, "again")

    found = await store.schedules.get(OWNER, "report")
    assert (found.paused, found.note, found.revision) == (True, "why", 3)


async def test_a_change_that_is_taken_back_leaves_no_trace(store: StoreBox) -> None:
    before = await store.schedules.add(new())
    other = ScheduleSpec(cron=("@hourly",))
    to = ScheduleChanges(spec=other, run="{}", ask="{}", policy=PAUSES, note="n", paused=True)

    changed = await store.schedules.change(OWNER, "report", to)

    assert await store.schedules.undo(changed, before)
    assert await store.schedules.get(OWNER, "report") == before
    assert not await store.schedules.undo(changed, before)


async def test_a_schedule_that_is_taken_back_was_never_there(store: StoreBox) -> None:
    made = await store.schedules.add(new())
    changed = await store.schedules.change(OWNER, "report", ScheduleChanges(note="newer"))
    assert not await store.schedules.undo(made, None)

    assert await store.schedules.undo(changed, None)

    assert await store.schedules.every() == []
    with pytest.raises(NotFoundError):
        await store.schedules.latest(OWNER, "report")


async def test_what_a_deleted_schedule_has_started_stays_readable(store: StoreBox) -> None:
    await store.schedules.add(new())
    await store.schedules.fire(new_run("run_1"), firing())
    await store.schedules.delete(OWNER, "report")
    store.clock.now += 10_000
    await store.schedules.forget("u1")
    await store.schedules.forget("u1")

    gone = await store.schedules.latest(OWNER, "report")

    assert (gone.uid, gone.deleted, gone.run, gone.ask) == ("u1", True, "{}", "{}")
    assert await store.schedules.every() == []
    found, _ = await store.schedules.firings(gone.uid, Page())
    assert [one.run_id for one in found] == ["run_1"]
    with pytest.raises(NotFoundError):
        await store.schedules.latest("bob", "report")
    await store.schedules.add(new("u2"))
    assert (await store.schedules.latest(OWNER, "report")).uid == "u2"
    assert (await store.schedules.latest(None, "report")).uid == "u2"


async def test_what_is_told_too_late_is_noticed(store: StoreBox) -> None:
    """Whoever was on the way to tell of it sees that it is gone, and removes it again."""
    await store.schedules.add(new())
    await store.schedules.delete(OWNER, "report")
    await store.schedules.forget("u1")

    assert not await store.schedules.applied("u1", 1)


@pytest.mark.parametrize(
    "spec",
    [
        '{"cron": ["@daily"], "start_at": "0001-01-01T00:00:00+14:00"}',
        '{"calendars": [{"year": "2150"}]}',
        '{"cron": ["61 * * * *"]}',
    ],
)
async def test_a_spec_that_was_taken_once_stays_readable(store: StoreBox, spec: str) -> None:
    await store.schedules.add(new())
    await store.set("UPDATE schedules SET spec = :spec", spec=spec)

    assert (await store.schedules.get(OWNER, "report")).spec == ScheduleSpec.from_store(spec)


async def test_a_key_stands_for_one_moment_of_one_request(store: StoreBox) -> None:
    key = IdempotencyKey("trigger_schedule ann report", "k", "f")

    first = await store.schedules.claim_trigger(OWNER, key)
    again = await store.schedules.claim_trigger(OWNER, key)
    await store.schedules.triggered(OWNER, key)
    done = await store.schedules.claim_trigger(OWNER, key)

    assert first == again
    assert (first.is_done, done.is_done, done.at) == (False, True, first.at)
    assert not (await store.schedules.claim_trigger("bob", key)).is_done
    with pytest.raises(IdempotencyKeyConflictError):
        await store.schedules.claim_trigger(OWNER, IdempotencyKey(key.scope, "k", "other"))
