"""What the engine refuses, and what breaks: each schedule by itself, and its owner is told."""

import logging
from collections.abc import Sequence
from typing import Any

import pytest

from domain.acceptance import IdempotencyKey
from domain.errors import (
    EngineUnavailableError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    StoreUnavailableError,
)
from domain.handover import HandOver
from domain.principal import LOCAL_OWNER
from domain.schedule import Firing, Overlap, Schedule, SchedulePolicy, ScheduleSpec
from domain.scheduling import NewSchedule, ScheduleChanges, Scheduling
from tests.fakes.schedules import FakeScheduler, FakeSchedules

SPEC = ScheduleSpec(cron=("@daily",))
OTHER = ScheduleSpec(cron=("@hourly",))
NO = InvalidRequestError("Temporal does not take it")


def new(schedule_id: str = "report") -> NewSchedule:
    return NewSchedule(
        uid=f"u-{schedule_id}",
        schedule_id=schedule_id,
        owner=LOCAL_OWNER,
        run="{}",
        ask="{}",
        spec=SPEC,
        policy=SchedulePolicy(),
        paused=False,
        note="",
        created_by="ann",
    )


def furnished(book: FakeSchedules) -> FakeSchedules:
    book.furnish()
    return book


class Picky(FakeScheduler):
    """An engine that breaks over one schedule, in one way."""

    def __init__(self, breaks: Exception) -> None:
        super().__init__()
        self.breaks = breaks
        self.over = "u-bad"

    async def apply(self, schedule: Schedule) -> None:
        if schedule.uid == self.over:
            raise self.breaks
        await super().apply(schedule)

    async def wake_firing(self, firing_id: str) -> bool:
        if firing_id == "fire_bad":
            raise self.breaks
        return await super().wake_firing(firing_id)


async def test_a_schedule_that_the_engine_refuses_is_not_made() -> None:
    book = FakeSchedules()
    keeping = Scheduling(book, FakeScheduler(refuses=NO))

    with pytest.raises(InvalidRequestError, match="does not take"):
        await keeping.create(new())

    assert book.rows == {}


async def test_a_change_that_the_engine_refuses_leaves_the_row_as_it_was() -> None:
    book, engine = FakeSchedules(), FakeScheduler()
    keeping = Scheduling(book, engine)
    before = await keeping.create(new())
    engine.refuses = NO

    with pytest.raises(InvalidRequestError, match="does not take"):
        await keeping.change(LOCAL_OWNER, "report", ScheduleChanges(spec=OTHER))

    assert await book.get(LOCAL_OWNER, "report") == before
    assert before.is_applied


async def test_a_pause_holds_whatever_the_engine_says() -> None:
    book, engine = FakeSchedules(), FakeScheduler()
    keeping = Scheduling(book, engine)
    await keeping.create(new())
    engine.refuses = NO

    paused = await keeping.change(LOCAL_OWNER, "report", ScheduleChanges(paused=True, note="n"))

    assert (paused.paused, paused.note, paused.is_applied) == (True, "n", False)
    with pytest.raises(InvalidRequestError):
        await keeping.change(LOCAL_OWNER, "report", ScheduleChanges(paused=False))
    assert (await book.get(LOCAL_OWNER, "report")).paused


class Busy(FakeSchedules):
    """Rows that somebody else changes whenever one of ours does."""

    async def change(self, owner: str | None, schedule_id: str, to: ScheduleChanges) -> Schedule:
        await super().change(owner, schedule_id, ScheduleChanges(note="theirs"))
        return await super().change(owner, schedule_id, to)


async def test_what_others_changed_meanwhile_is_not_taken_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book, engine = Busy(), FakeScheduler()
    keeping = Scheduling(book, engine)
    await keeping.create(new())
    engine.refuses = NO

    changed = await keeping.change(LOCAL_OWNER, "report", ScheduleChanges(spec=OTHER))

    assert changed.paused
    assert changed.note == "paused because it cannot be applied: Temporal does not take it"
    assert caplog.records[-1].__dict__["schedule_id"] == "report"


async def test_what_the_engine_refuses_after_the_answer_is_paused_with_the_reason() -> None:
    calls = []

    async def later(_which: str, _what: str, call: Any) -> None:
        calls.append(call)

    book, engine = FakeSchedules(), FakeScheduler(refuses=NO)
    made = await Scheduling(book, engine, later).create(new())
    assert not made.paused

    await calls.pop()

    found = await book.get(LOCAL_OWNER, "report")
    assert (found.paused, found.is_applied) == (True, False)
    assert "Temporal does not take it" in found.note


async def test_a_schedule_that_is_refused_in_a_pass_says_so_itself() -> None:
    book, engine = furnished(FakeSchedules()), FakeScheduler(refuses=NO)
    keeping = Scheduling(book, engine)

    assert (await keeping.mend(), await keeping.mend()) == (0, 0)

    found = await book.get(None, "morning-report")
    assert (found.paused, found.revision) == (True, 2)
    assert "Temporal does not take it" in found.note


async def test_what_agrees_is_left_alone() -> None:
    book, engine = FakeSchedules(), FakeScheduler()
    keeping = Scheduling(book, engine)
    await keeping.create(new())
    engine.refuses = NO

    assert await keeping.mend() == 0

    assert not (await book.get(LOCAL_OWNER, "report")).paused


async def test_one_that_goes_while_it_is_refused_is_left_alone() -> None:
    class Going(FakeScheduler):
        async def apply(self, schedule: Schedule) -> None:
            book.rows.clear()
            raise NO

    book = furnished(FakeSchedules())

    assert await Scheduling(book, Going()).mend() == 0


@pytest.mark.parametrize(
    "breaks",
    [
        OverflowError("date value out of range"),
        InternalError("odd"),
        EngineUnavailableError("it did not answer in time"),
    ],
)
async def test_one_schedule_that_breaks_stops_no_other(
    breaks: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    book, engine = FakeSchedules(), Picky(breaks)
    for name in ("bad", "good"):
        await book.add(new(name))
    book.furnish()
    for number, name in enumerate(("fire_bad", "fire_good")):
        row = book.fired_rows[0].model_copy(update={"firing_id": name, "ended_at": None})
        book.fired_rows.insert(number, row)

    with caplog.at_level(logging.ERROR):
        await Scheduling(book, engine).mend()

    assert set(engine.schedules) == {"u-good", "u01k9"}
    assert ("wake", "fire_good") in engine.fired
    said = {(r.__dict__.get("schedule_id"), r.__dict__.get("firing_id")) for r in caplog.records}
    assert said == {("bad", None), (None, "fire_bad")}


async def test_an_engine_that_is_away_for_all_ends_the_pass_at_once() -> None:
    engine = Picky(EngineUnavailableError("gone"))
    engine.over = "u01k9"
    engine.is_away = True

    with pytest.raises(EngineUnavailableError, match="away"):
        await Scheduling(furnished(FakeSchedules()), engine).mend()


async def test_a_store_that_is_away_ends_the_pass_too() -> None:
    class Away(FakeSchedules):
        async def by_uid(self, uid: str) -> Schedule | None:
            raise StoreUnavailableError("locked")

    with pytest.raises(StoreUnavailableError):
        await Scheduling(furnished(Away()), FakeScheduler()).mend()


async def test_what_a_firing_paused_is_told_in_the_same_pass() -> None:
    class Pausing(FakeSchedules):
        async def settle(self, firing_id: str) -> Firing | None:
            self._put(self.rows["u01k9"], paused=True, revision=2)
            return await super().settle(firing_id)

    book, engine = furnished(Pausing()), FakeScheduler(closed={"fire_u01k9-1"})
    book.fired_rows[0] = book.fired_rows[0].model_copy(update={"ended_at": None})

    await Scheduling(book, engine).mend()

    assert engine.schedules["u01k9"].paused


async def test_a_pause_that_the_record_made_is_passed_on() -> None:
    book, engine = furnished(FakeSchedules()), FakeScheduler()
    keeping = Scheduling(book, engine)
    await keeping.pass_on("u01k9")
    await keeping.pass_on("nobody")
    assert engine.schedules == {}

    await book.pause("u01k9", 1, "a run failed")
    await keeping.pass_on("u01k9")

    assert engine.schedules["u01k9"].paused
    assert (await book.get(None, "morning-report")).is_applied


async def test_a_call_that_fails_is_logged_about_what_it_is_about(
    caplog: pytest.LogCaptureFixture,
) -> None:
    book, engine = FakeSchedules(), FakeScheduler(is_away=True)

    await Scheduling(book, engine).create(new())

    (line,) = caplog.records
    assert "could not be told to apply a schedule" in line.getMessage()
    assert line.__dict__["schedule_id"] == "report"
    assert "run_id" not in line.__dict__

    async def fail() -> None:
        raise NotFoundError("gone")

    await HandOver()("run_1", "start", fail())
    assert "could not be told to start a run" in caplog.records[-1].getMessage()
    assert caplog.records[-1].__dict__["run_id"] == "run_1"


async def test_a_trigger_with_a_key_fires_once_and_as_of_one_moment() -> None:
    book, engine = furnished(FakeSchedules()), FakeScheduler()
    keeping = Scheduling(book, engine)
    key = IdempotencyKey("trigger_schedule ann", "k", "f")
    engine.is_away = True
    with pytest.raises(EngineUnavailableError):
        await keeping.trigger(LOCAL_OWNER, "morning-report", None, key)
    engine.is_away = False

    first = await keeping.trigger(LOCAL_OWNER, "morning-report", None, key)
    again = await keeping.trigger(LOCAL_OWNER, "morning-report", None, key)
    keyless = await keeping.trigger(LOCAL_OWNER, "morning-report", Overlap.ALLOW_ALL)

    assert [replayed for _, replayed in (first, again, keyless)] == [False, True, False]
    assert engine.fired == [
        ("trigger", "morning-report", Overlap.SKIP, book.triggers[key].at),
        ("trigger", "morning-report", Overlap.ALLOW_ALL),
    ]


async def test_a_backfill_drops_nothing_unless_it_is_told_to() -> None:
    engine = FakeScheduler()
    keeping = Scheduling(furnished(FakeSchedules()), engine)

    await keeping.backfill(LOCAL_OWNER, "morning-report", (1, 2), None)
    await keeping.backfill(LOCAL_OWNER, "morning-report", (1, 2), Overlap.SKIP)

    policies: Sequence[object] = [one[-1] for one in engine.fired]
    assert policies == [Overlap.BUFFER_ALL, Overlap.SKIP]
