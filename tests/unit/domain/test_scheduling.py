"""Schedules on record and in the engine: made to agree, whatever one of the two says meanwhile."""

import logging

import pytest

from domain.errors import EngineUnavailableError, InvalidRequestError
from domain.schedule import Schedule
from domain.scheduling import Scheduling
from tests.fakes.schedules import FakeScheduler, FakeSchedules


class Changing(FakeSchedules):
    """Rows that change while the engine is told of them."""

    moves = 1

    async def applied(self, uid: str, revision: int) -> bool:
        if self.moves:
            self.moves -= 1
            self._put(self.rows[uid], note="moved", revision=revision + 1)
        return await super().applied(uid, revision)


def furnished(book: FakeSchedules) -> FakeSchedules:
    book.furnish()
    return book


async def test_a_row_that_changes_meanwhile_is_told_again() -> None:
    engine = FakeScheduler()

    assert await Scheduling(furnished(Changing()), engine).mend() == 1

    assert engine.schedules["u01k9"].note == "moved"


async def test_a_schedule_that_is_refused_keeps_no_other_from_the_engine(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = FakeScheduler(refuses=InvalidRequestError("no such time zone"))

    with caplog.at_level(logging.ERROR):
        assert await Scheduling(furnished(FakeSchedules()), engine).mend() == 0

    assert "morning-report cannot be applied: no such time zone" in caplog.text


async def test_an_engine_that_goes_away_ends_the_pass() -> None:
    engine = FakeScheduler(refuses=EngineUnavailableError("gone"))

    with pytest.raises(EngineUnavailableError):
        await Scheduling(furnished(FakeSchedules()), engine).mend()


@pytest.mark.parametrize("is_closed", [False, True])
async def test_a_firing_that_nobody_waits_for_any_more_is_settled(is_closed: bool) -> None:
    book, engine = furnished(FakeSchedules()), FakeScheduler()
    book.fired_rows[0] = book.fired_rows[0].model_copy(update={"ended_at": None})
    firing_id = book.fired_rows[0].firing_id
    if is_closed:
        engine.closed.add(firing_id)

    assert await Scheduling(book, engine).mend() == 2

    assert ("wake", firing_id) in engine.fired
    assert (await book.unseen(10) == []) is is_closed


async def test_a_schedule_that_was_deleted_goes_from_the_engine_and_then_from_the_record() -> None:
    book, engine = furnished(FakeSchedules()), FakeScheduler()
    await Scheduling(book, engine).mend()
    await book.delete(None, "morning-report")

    assert await Scheduling(book, engine).mend() == 0

    assert (book.rows, engine.schedules) == ({}, {})


class Forgetting(FakeSchedules):
    """Rows that are gone by the time they are looked at again."""

    async def by_uid(self, uid: str) -> Schedule | None:
        self.rows.pop(uid, None)
        return await super().by_uid(uid)


async def test_a_schedule_that_is_gone_meanwhile_is_not_told() -> None:
    engine = FakeScheduler()

    await Scheduling(furnished(Forgetting()), engine).mend()

    assert engine.schedules == {}
