"""Keeping schedules: a row is the record, the engine is told after it. Knows ports only.

What the engine could not be told now, `mend` tells it later: the reconciler calls it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from domain.acceptance import Accepted, IdempotencyKey, NewRun, Page
from domain.alone import alone
from domain.errors import EngineUnavailableError, InvalidRequestError
from domain.handover import HandOver
from domain.schedule import (
    SHOWN_FIRINGS,
    Firing,
    Overlap,
    Schedule,
    SchedulePolicy,
    ScheduleSpec,
)
from domain.telling import ScheduleClock, ScheduleRows, Tell, Telling


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A schedule to make, checked for form."""

    uid: str
    schedule_id: str
    owner: str
    run: str
    ask: str
    spec: ScheduleSpec
    policy: SchedulePolicy
    paused: bool
    note: str
    created_by: str


@dataclass(frozen=True, slots=True)
class ScheduleChanges:
    """What to change; None leaves it."""

    run: str | None = None
    ask: str | None = None
    spec: ScheduleSpec | None = None
    policy: SchedulePolicy | None = None
    paused: bool | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Trigger:
    """A firing by hand that was asked for with a key: of the moment `at` in ms, however often."""

    at: int
    is_done: bool


class ScheduleBook(ScheduleRows, Protocol):
    """Schedules and firings on record. `owner` None means any owner."""

    async def add(self, new: NewSchedule) -> Schedule:
        """Make a schedule.

        Raises:
            ConflictError: this owner has one of that id.
        """
        ...

    async def get(self, owner: str | None, schedule_id: str) -> Schedule:
        """Return one schedule.

        Raises:
            NotFoundError: no such schedule for this owner.
        """
        ...

    async def latest(self, owner: str | None, schedule_id: str) -> Schedule:
        """Return the schedule of that id or, when it is deleted, the last one there was.

        Raises:
            NotFoundError: this owner never had one.
        """
        ...

    async def list(self, owner: str | None, page: Page) -> tuple[Sequence[Schedule], str | None]:
        """Return schedules, newest first, and the cursor of the next page or None."""
        ...

    async def change(self, owner: str | None, schedule_id: str, to: ScheduleChanges) -> Schedule:
        """Change a schedule and return it.

        Raises:
            NotFoundError: no such schedule for this owner.
        """
        ...

    async def delete(self, owner: str | None, schedule_id: str) -> Schedule:
        """Mark a schedule as gone, and return it; its runs stay.

        Raises:
            NotFoundError: no such schedule for this owner.
        """
        ...

    async def claim_trigger(self, owner: str, key: IdempotencyKey) -> Trigger:
        """Return what was asked for with a key: the first time it is now.

        Raises:
            IdempotencyKeyConflictError: the key was used for something else.
        """
        ...

    async def triggered(self, owner: str, key: IdempotencyKey) -> None:
        """Note that the engine was told of what was asked for with a key."""
        ...

    async def every(self) -> Sequence[Schedule]:
        """Return all schedules that the engine may know, deleted ones too."""
        ...

    async def fire(self, new: NewRun, firing: Firing) -> Accepted:
        """Put a firing and its run on record, in one transaction; or return the run it has."""
        ...

    async def refuse(self, firing: Firing) -> Firing:
        """Put a firing without a run on record, with its error; or return the one on record.

        It may pause its schedule, as a failure does.
        """
        ...

    async def firing(self, firing_id: str) -> Firing | None:
        """Return one firing."""
        ...

    async def fired(self, firing_id: str) -> Accepted | None:
        """Return the run of a firing as it was accepted; None when it has none."""
        ...

    async def settle(self, firing_id: str) -> Firing | None:
        """Return a firing; one whose run has ended is noted as seen, a failure may pause."""
        ...

    async def firings(self, uid: str, page: Page) -> tuple[Sequence[Firing], str | None]:
        """Return the firings of a schedule, newest first, and the cursor of the next page."""
        ...

    async def going(self, uid: str | None = None) -> Sequence[Firing]:
        """Return the firings of a schedule, or of all, whose run goes on."""
        ...

    async def unseen(self, limit: int) -> Sequence[Firing]:
        """Return firings whose run has ended and whose workflow has not been told."""
        ...


class ScheduleEngine(ScheduleClock, Protocol):
    """The clock that fires. Each method raises `EngineUnavailableError` when it cannot be told."""

    async def check(self) -> None:
        """Say whether it is there at all, for any schedule."""
        ...

    async def agrees(self, schedule: Schedule) -> bool:
        """Whether the engine has the schedule as it stands in the row."""
        ...

    async def upcoming(self, uid: str) -> Sequence[int]:
        """Return the next times in ms; none of a schedule that it does not have."""
        ...

    async def trigger(self, uid: str, overlap: Overlap, at_ms: int | None = None) -> None:
        """Fire now, or as if a moment that has passed came now: twice for one is one firing."""
        ...

    async def backfill(self, uid: str, start_ms: int, end_ms: int, overlap: Overlap) -> None:
        """Fire for every time from `start_ms` to `end_ms`, as if it came now."""
        ...

    async def wake_firing(self, firing_id: str) -> bool:
        """Tell a firing's workflow to look at the store; False when it is not there or closed."""
        ...

    async def is_terminated(self, firing_id: str) -> bool:
        """Whether a firing's workflow was terminated, by an overlap policy or by hand."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """A schedule with what has come of it and what will; `upcoming` None: nobody knows now."""

    schedule: Schedule
    upcoming: Sequence[int] | None
    recent: Sequence[Firing]


class Scheduling:
    """The one way in for schedules.

    `tell` makes calls to the engine that may fail, and says how long the caller waits for them.
    """

    def __init__(
        self, book: ScheduleBook, engine: ScheduleEngine, tell: Tell | None = None
    ) -> None:
        self.book = book
        self._engine = engine
        self._telling = Telling(book, engine, tell or HandOver(about="schedule"))

    async def create(self, new: NewSchedule) -> Schedule:
        """Make a schedule durable, then known to the engine.

        Raises:
            ConflictError: this owner has one of that id.
            InvalidRequestError: the engine does not take it; there is none then.
        """
        made = await self.book.add(new)
        return await self._telling.told(made, lambda: self.book.undo(made, None))

    async def change(self, owner: str, schedule_id: str, to: ScheduleChanges) -> Schedule:
        """Change a schedule; the next time that comes knows it.

        Raises:
            NotFoundError: no such schedule for this owner.
            InvalidRequestError: the engine does not take it; it stands as before.
        """
        before = await self.book.get(owner, schedule_id)
        changed = await self.book.change(owner, schedule_id, to)
        if to.paused or changed.revision != before.revision + 1:
            # A pause holds by the row alone; and what others changed meanwhile is not taken back.
            return await self._telling.told(changed)
        return await self._telling.told(changed, lambda: self.book.undo(changed, before))

    async def delete(self, owner: str, schedule_id: str) -> None:
        """Remove a schedule. Runs it has started go on.

        Raises:
            NotFoundError: no such schedule for this owner.
        """
        await self._telling.told(await self.book.delete(owner, schedule_id))

    async def trigger(
        self,
        owner: str,
        schedule_id: str,
        overlap: Overlap | None,
        key: IdempotencyKey | None = None,
    ) -> tuple[Schedule, bool]:
        """Fire now, paused or not; return the schedule, and whether the key had done so before.

        Raises:
            NotFoundError: no such schedule for this owner.
            IdempotencyKeyConflictError: the key was used for something else.
            EngineUnavailableError: nothing was fired.
        """
        schedule = await self.book.get(owner, schedule_id)
        asked = None if key is None else await self.book.claim_trigger(owner, key)
        if asked is not None and asked.is_done:
            return schedule, True
        await self._telling.sync(schedule.uid)
        policy = overlap or schedule.policy.overlap
        await self._engine.trigger(schedule.uid, policy, asked.at if asked else None)
        if key is not None:
            await self.book.triggered(owner, key)
        return schedule, False

    async def backfill(
        self, owner: str, schedule_id: str, span_ms: tuple[int, int], overlap: Overlap | None
    ) -> Schedule:
        """Fire for the times of a span, paused or not; one that has fired does not fire again.

        Without `overlap` one after the other: under the schedule's own most would be dropped. How
        many there are is looked at before, with `times.count_times`.

        Raises:
            NotFoundError: no such schedule for this owner.
            EngineUnavailableError: nothing was fired.
        """
        schedule = await self.book.get(owner, schedule_id)
        await self._telling.sync(schedule.uid)
        await self._engine.backfill(schedule.uid, *span_ms, overlap or Overlap.BUFFER_ALL)
        return schedule

    async def pass_on(self, uid: str) -> None:
        """Tell the engine of a pause that the record made by itself, after a failure."""
        await self._telling.pass_on(uid)

    async def show(self, schedule: Schedule) -> Shown:
        """Return a schedule with its last firings and next times."""
        recent, _ = await self.book.firings(schedule.uid, Page(SHOWN_FIRINGS))
        upcoming: Sequence[int] | None
        try:
            upcoming = await self._engine.upcoming(schedule.uid)
        except EngineUnavailableError:
            upcoming = None
        return Shown(schedule, upcoming, recent)

    async def mend(self) -> int:
        """Make the engine agree with every row, and repeat lost wakes; return how many.

        Each firing and each schedule is looked at alone: what is wrong with one stops no other.

        Raises:
            EngineUnavailableError, StoreUnavailableError: one side does not answer.
        """
        mended, check = 0, self._engine.check
        # Firings first: their ends may pause a schedule, which the engine is then told of.
        for firing in await self.book.unseen(1000):
            mended += await alone("firing", firing.firing_id, self._wake(firing.firing_id), check)
        for schedule in await self.book.every():
            work = self._mend(schedule)
            mended += await alone("schedule", schedule.schedule_id, work, check)
        return mended

    async def _wake(self, firing_id: str) -> int:
        if not await self._engine.wake_firing(firing_id):
            await self.book.settle(firing_id)
        return 1

    async def _mend(self, schedule: Schedule) -> int:
        if schedule.deleted:
            await self._telling.sync(schedule.uid)
            return 0
        if schedule.is_applied and await self._engine.agrees(schedule):
            return 0
        try:
            await self._telling.sync(schedule.uid)
        except InvalidRequestError as error:
            await self._telling.refused(schedule.uid, error)
            return 0
        return 1
