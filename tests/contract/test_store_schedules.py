"""Schedules and firings on both databases: one row per time, one run per row."""

import asyncio
from typing import Any

import pytest

from domain.acceptance import Page
from domain.errors import ConflictError, NotFoundError, SessionBusyError
from domain.run import RunState
from domain.schedule import Firing, Overlap, Schedule, SchedulePolicy, ScheduleSpec
from domain.scheduling import NewSchedule, ScheduleChanges
from domain.session import OnBusy
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import DONE, FAILED, OWNER, new_run

SPEC = ScheduleSpec(cron=("@daily",))


def new(uid: str = "u1", schedule_id: str = "report", **fields: Any) -> NewSchedule:
    values: dict[str, Any] = {
        "owner": OWNER,
        "run": '{"input":"hi"}',
        "ask": '{"content":"hi"}',
        "spec": SPEC,
        "policy": SchedulePolicy(),
        "paused": False,
        "note": "",
        "created_by": "ann",
    }
    return NewSchedule(uid=uid, schedule_id=schedule_id, **values | fields)


def firing(firing_id: str = "fire_1", run_id: str | None = "run_1", **fields: Any) -> Firing:
    values: dict[str, Any] = {
        "uid": "u1",
        "schedule_id": "report",
        "owner": OWNER,
        "scheduled_at": 1_700_000_000_000,
        "state": None,
        "error_code": None,
        "error_message": None,
        "created_at": 0,
        "ended_at": None,
    }
    return Firing(firing_id=firing_id, run_id=run_id, **values | fields)


async def test_a_schedule_comes_back_as_it_was_kept(store: StoreBox) -> None:
    policy = SchedulePolicy(overlap=Overlap.BUFFER_ALL, catchup_window_seconds=60)
    spec = ScheduleSpec.model_validate(
        {"intervals": [{"every_seconds": 60}], "start_at": "2026-01-01T00:00:00Z"}
    )

    made = await store.schedules.add(new(policy=policy, spec=spec, paused=True, note="later"))

    assert made == await store.schedules.get(OWNER, "report") == await store.schedules.by_uid("u1")
    assert (made.policy, made.spec, made.paused, made.note) == (policy, spec, True, "later")
    assert (made.revision, made.is_applied) == (1, False)


async def test_an_id_is_its_owners(store: StoreBox) -> None:
    await store.schedules.add(new())
    await store.schedules.add(new("u2", owner="bob"))

    with pytest.raises(ConflictError):
        await store.schedules.add(new("u3"))

    assert (await store.schedules.get("bob", "report")).uid == "u2"
    with pytest.raises(NotFoundError):
        await store.schedules.get("eve", "report")
    found, _ = await store.schedules.list("bob", Page())
    assert [one.uid for one in found] == ["u2"]


async def test_a_change_touches_what_it_names(store: StoreBox) -> None:
    before = await store.schedules.add(new())

    paused = await store.schedules.change(OWNER, "report", ScheduleChanges(paused=True, note="n"))
    noted = await store.schedules.change(OWNER, "report", ScheduleChanges(note=""))

    assert (paused.paused, paused.note, paused.revision) == (True, "n", 2)
    assert (noted.paused, noted.note, noted.revision) == (True, "", 3)
    assert (noted.spec, noted.ask) == (before.spec, before.ask)
    with pytest.raises(NotFoundError):
        await store.schedules.change("bob", "report", ScheduleChanges(paused=True))


async def test_what_was_applied_is_older_than_a_change(store: StoreBox) -> None:
    await store.schedules.add(new())
    await store.schedules.change(OWNER, "report", ScheduleChanges(note="n"))

    assert not await store.schedules.applied("u1", 1)
    assert await store.schedules.applied("u1", 2)
    assert (await store.schedules.get(OWNER, "report")).is_applied


async def test_a_deleted_schedule_makes_room_for_another(store: StoreBox) -> None:
    await store.schedules.add(new())
    await store.schedules.forget("u1")  # it is not deleted: nothing happens

    await store.schedules.delete(OWNER, "report")
    with pytest.raises(NotFoundError):
        await store.schedules.get(OWNER, "report")
    await store.schedules.add(new("u2"))

    assert [one.deleted for one in await store.schedules.every()] == [True, False]
    store.clock.now += 9_000
    await store.schedules.forget("u1")  # the engine may yet bring back what is as young as this
    assert len(await store.schedules.every()) == 2
    store.clock.now += 1_000
    await store.schedules.forget("u1")
    assert [one.uid for one in await store.schedules.every()] == ["u2"]


async def test_schedules_come_in_pages(store: StoreBox) -> None:
    for number in range(5):
        await store.schedules.add(new(f"u{number}", f"s{number}"))
        await store.schedules.fire(
            new_run(f"run_{number}"), firing(f"fire_{number}", f"run_{number}")
        )

    seen: list[Schedule] = []
    cursor: str | None = None
    while True:
        page, cursor = await store.schedules.list(OWNER, Page(2, cursor))
        seen += page
        if cursor is None:
            break
    first, following = await store.schedules.firings("u1", Page(3))
    rest, end = await store.schedules.firings("u1", Page(3, following))

    assert [one.schedule_id for one in seen] == ["s4", "s3", "s2", "s1", "s0"]
    assert [one.run_id for one in (*first, *rest)] == [f"run_{n}" for n in (4, 3, 2, 1, 0)]
    assert end is None


async def test_twenty_tellings_of_one_time_make_one_run(store: StoreBox) -> None:
    tellings = [
        store.schedules.fire(new_run("run_1", f"s{number}"), firing()) for number in range(20)
    ]

    made = await asyncio.gather(*tellings)

    assert {one.run.run_id for one in made} == {"run_1"}
    assert sorted(one.replayed for one in made) == [False] + [True] * 19
    assert len(await store.all("SELECT * FROM runs")) == 1
    assert len(await store.all("SELECT * FROM messages")) == 1
    again = await store.schedules.fired("fire_1")
    assert again is not None
    assert again.run.run_id == "run_1"


async def test_a_run_that_cannot_be_made_leaves_no_firing(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_0", "s"))

    with pytest.raises(SessionBusyError):
        await store.schedules.fire(new_run("run_1", "s", on_busy=OnBusy.REJECT), firing())

    assert await store.schedules.firing("fire_1") is None
    refused = await store.schedules.refuse(firing(error_code="session_busy", error_message="busy"))
    assert (refused.run_id, refused.error_code) == (None, "session_busy")
    assert await store.schedules.fired("fire_1") is None
    with pytest.raises(NotFoundError):
        await store.schedules.fire(new_run("run_1"), firing())


async def test_the_end_of_a_run_names_the_firing_that_waits(store: StoreBox) -> None:
    await store.schedules.fire(new_run("run_1"), firing())
    other = await store.runs.accept(new_run("run_2"))
    assert [one.firing_id for one in await store.schedules.going("u1")] == ["fire_1"]

    assert (await store.steps.finalize("run_1", DONE)).firing_id == "fire_1"
    assert (await store.steps.finalize(other.run.run_id, DONE)).firing_id is None
    assert [one.firing_id for one in await store.schedules.unseen(10)] == ["fire_1"]
    assert await store.schedules.going() == []

    seen = await store.schedules.settle("fire_1")
    assert seen is not None
    assert (seen.state, seen.ended_at is not None) == (RunState.DONE, True)
    assert await store.schedules.unseen(10) == []
    assert (await store.steps.finalize("run_1", DONE)).firing_id is None


@pytest.mark.parametrize("wants", [True, False])
async def test_a_failure_pauses_once_if_it_is_wanted(store: StoreBox, wants: bool) -> None:
    await store.schedules.add(new(policy=SchedulePolicy(pause_on_failure=wants)))
    await store.schedules.fire(new_run("run_1"), firing())
    before = await store.schedules.settle("fire_1")
    assert before is not None
    assert before.ended_at is None

    await store.steps.finalize("run_1", FAILED)
    await store.schedules.settle("fire_1")
    await store.schedules.settle("fire_1")

    found = await store.schedules.get(OWNER, "report")
    assert found.paused is wants
    assert found.revision == 1 + wants
    assert ("run_1" in found.note) is wants


async def test_a_message_that_steers_waits_for_the_run_that_it_went_to(store: StoreBox) -> None:
    going = await store.runs.accept(new_run("run_0", "s"))

    made = await store.schedules.fire(new_run("run_1", "s", on_busy=OnBusy.STEER), firing())

    assert made.run.run_id == going.run.run_id
    again = await store.schedules.fired("fire_1")
    assert again is not None
    assert again.run.run_id == going.run.run_id
    assert [row["run_id"] for row in await store.all("SELECT run_id FROM runs")] == ["run_0"]
    assert [one.run_id for one in await store.schedules.going("u1")] == ["run_0"]
