"""Keeping schedules: a row is the record, the engine is told after it. Knows ports only.

What the engine could not be told now, `mend` tells it later: the reconciler calls it.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from domain.acceptance import Accepted, NewRun, Page
from domain.errors import (
    EngineUnavailableError,
    InvalidRequestError,
    OrchestratorError,
    StoreUnavailableError,
)
from domain.handover import HandOver
from domain.schedule import (
    MOST_BACKFILLED,
    SHOWN_FIRINGS,
    Firing,
    Overlap,
    Schedule,
    SchedulePolicy,
    ScheduleSpec,
    most_times,
)

_LOG = logging.getLogger(__name__)


Tell = Callable[[str, str, Coroutine[Any, Any, None]], Awaitable[None]]
"""Makes a call to the engine about a schedule; the second argument names it in the log."""


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


class ScheduleBook(Protocol):
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

    async def by_uid(self, uid: str) -> Schedule | None:
        """Return a schedule as the engine knows it, deleted ones too."""
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

    async def applied(self, uid: str, revision: int) -> bool:
        """Note which revision the engine was told; False when there is a newer one."""
        ...

    async def forget(self, uid: str) -> None:
        """Drop the row of a deleted schedule, which the engine no longer knows."""
        ...

    async def every(self) -> Sequence[Schedule]:
        """Return all schedules, deleted ones too."""
        ...

    async def fire(self, new: NewRun, firing: Firing) -> Accepted:
        """Put a firing and its run on record, in one transaction; or return the run it has."""
        ...

    async def refuse(self, firing: Firing) -> Firing:
        """Put a firing without a run on record, with its error; or return the one on record."""
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


class ScheduleEngine(Protocol):
    """The clock that fires. Each method raises `EngineUnavailableError` when it cannot be told."""

    async def apply(self, schedule: Schedule) -> None:
        """Make or change the engine's schedule so that it agrees with the row.

        Raises:
            InvalidRequestError: the engine does not take it.
        """
        ...

    async def agrees(self, schedule: Schedule) -> bool:
        """Whether the engine has the schedule as it stands in the row."""
        ...

    async def remove(self, uid: str) -> None:
        """Remove the engine's schedule; one that is not there is fine."""
        ...

    async def upcoming(self, uid: str) -> Sequence[int]:
        """Return the next times in ms; none of a schedule that it does not have."""
        ...

    async def trigger(self, uid: str, overlap: Overlap) -> None:
        """Fire now."""
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
        self._hand_over = tell or HandOver()

    async def create(self, new: NewSchedule) -> Schedule:
        """Make a schedule durable, then known to the engine.

        Raises:
            ConflictError: this owner has one of that id.
        """
        return await self._told(await self.book.add(new))

    async def change(self, owner: str, schedule_id: str, to: ScheduleChanges) -> Schedule:
        """Change a schedule; the next time that comes knows it.

        Raises:
            NotFoundError: no such schedule for this owner.
        """
        return await self._told(await self.book.change(owner, schedule_id, to))

    async def delete(self, owner: str, schedule_id: str) -> None:
        """Remove a schedule. Runs it has started go on.

        Raises:
            NotFoundError: no such schedule for this owner.
        """
        await self._told(await self.book.delete(owner, schedule_id))

    async def trigger(self, owner: str, schedule_id: str, overlap: Overlap | None) -> Schedule:
        """Fire now, paused or not.

        Raises:
            NotFoundError: no such schedule for this owner.
            EngineUnavailableError: nothing was fired.
        """
        schedule = await self.book.get(owner, schedule_id)
        await self._sync(schedule.uid)
        await self._engine.trigger(schedule.uid, overlap or schedule.policy.overlap)
        return schedule

    async def backfill(
        self, owner: str, schedule_id: str, span_ms: tuple[int, int], overlap: Overlap | None
    ) -> Schedule:
        """Fire for the times of a span, paused or not; one that has fired does not fire again.

        Raises:
            NotFoundError: no such schedule for this owner.
            InvalidRequestError: the span holds too many times.
            EngineUnavailableError: nothing was fired.
        """
        schedule = await self.book.get(owner, schedule_id)
        times = most_times(schedule.spec, *span_ms)
        if times > MOST_BACKFILLED:
            raise InvalidRequestError(
                f"that span may hold {times} times; at most {MOST_BACKFILLED} are made up for at"
                " once"
            )
        await self._sync(schedule.uid)
        await self._engine.backfill(schedule.uid, *span_ms, overlap or schedule.policy.overlap)
        return schedule

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

        Raises:
            EngineUnavailableError, StoreUnavailableError: one side does not answer.
        """
        mended = 0
        for schedule in await self.book.every():
            if schedule.deleted:
                await self._sync(schedule.uid)
            elif not schedule.is_applied or not await self._engine.agrees(schedule):
                mended += await self._mend(schedule)
        for firing in await self.book.unseen(1000):
            mended += 1
            if not await self._engine.wake_firing(firing.firing_id):
                await self.book.settle(firing.firing_id)
        return mended

    async def _mend(self, schedule: Schedule) -> int:
        """Tell the engine; a schedule that it refuses must not keep the others from it."""
        try:
            await self._sync(schedule.uid)
        except (EngineUnavailableError, StoreUnavailableError):
            raise
        except OrchestratorError as error:
            _LOG.error("schedule %s cannot be applied: %s", schedule.schedule_id, error.message)
            return 0
        return 1

    async def _told(self, schedule: Schedule) -> Schedule:
        """Tell the engine of a change, and return the row as it stands then."""
        await self._hand_over(schedule.schedule_id, "apply", self._sync(schedule.uid))
        return await self.book.by_uid(schedule.uid) or schedule

    async def _sync(self, uid: str) -> None:
        """Tell the engine how a row stands, until it has not changed meanwhile."""
        while True:
            schedule = await self.book.by_uid(uid)
            if schedule is None:
                return
            if schedule.deleted:
                await self._engine.remove(uid)
                await self.book.forget(uid)
                return
            await self._engine.apply(schedule)
            if await self.book.applied(uid, schedule.revision):
                return
