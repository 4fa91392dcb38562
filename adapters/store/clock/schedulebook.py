"""The `ScheduleBook` over a database: each method is one transaction."""

from collections.abc import Sequence

from adapters.store.clock import firings, schedules
from adapters.store.database.commits import Commits, CrashPoint, no_crash
from adapters.store.database.tx import Engine
from domain.acceptance import Accepted, IdempotencyKey, NewRun, Page
from domain.ports import Clock
from domain.schedule import Firing, Schedule
from domain.scheduling import NewSchedule, ScheduleChanges, Trigger


class SqlScheduleBook:
    """Schedules on record. Source of every promise: `domain.scheduling.ScheduleBook`."""

    def __init__(self, engine: Engine, clock: Clock, crash: CrashPoint = no_crash) -> None:
        self._engine = engine
        self._clock = clock
        self._commit = Commits(engine, crash)

    async def add(self, new: NewSchedule) -> Schedule:
        """Make a schedule."""
        now = self._clock.now_ms()
        return await self._commit("schedule", lambda tx: schedules.add(tx, new, now))

    async def get(self, owner: str | None, schedule_id: str) -> Schedule:
        """Return one schedule."""
        return await self._engine.read(lambda tx: schedules.get(tx, owner, schedule_id))

    async def latest(self, owner: str | None, schedule_id: str) -> Schedule:
        """Return one schedule, a deleted one if there is no other."""
        return await self._engine.read(lambda tx: schedules.latest(tx, owner, schedule_id))

    async def by_uid(self, uid: str) -> Schedule | None:
        """Return a schedule as the engine knows it."""
        return await self._engine.read(lambda tx: schedules.by_uid(tx, uid))

    async def list(self, owner: str | None, page: Page) -> tuple[Sequence[Schedule], str | None]:
        """Return schedules, newest first, and the next cursor."""
        return await self._engine.read(lambda tx: schedules.page_of(tx, owner, page))

    async def change(self, owner: str | None, schedule_id: str, to: ScheduleChanges) -> Schedule:
        """Change a schedule."""
        now = self._clock.now_ms()
        return await self._commit(
            "schedule", lambda tx: schedules.change(tx, owner, schedule_id, to, now)
        )

    async def delete(self, owner: str | None, schedule_id: str) -> Schedule:
        """Mark a schedule as gone."""
        now = self._clock.now_ms()
        return await self._commit(
            "schedule", lambda tx: schedules.delete(tx, owner, schedule_id, now)
        )

    async def applied(self, uid: str, revision: int) -> bool:
        """Note which revision the engine was told."""
        return await self._commit("applied", lambda tx: schedules.applied(tx, uid, revision))

    async def forget(self, uid: str) -> None:
        """Note that the engine no longer knows a deleted schedule."""
        now = self._clock.now_ms()
        await self._commit("applied", lambda tx: schedules.forget(tx, uid, now))

    async def pause(self, uid: str, revision: int, note: str) -> bool:
        """Pause a schedule unless it has changed since."""
        now = self._clock.now_ms()
        return await self._commit(
            "schedule", lambda tx: schedules.pause(tx, uid, revision, note, now)
        )

    async def undo(self, made: Schedule, before: Schedule | None) -> bool:
        """Take a change back."""
        return await self._commit("schedule", lambda tx: schedules.undo(tx, made, before))

    async def claim_trigger(self, owner: str, key: IdempotencyKey) -> Trigger:
        """Return what was asked for with a key."""
        now = self._clock.now_ms()
        return await self._commit(
            "trigger", lambda tx: schedules.claim_trigger(tx, owner, key, now)
        )

    async def triggered(self, owner: str, key: IdempotencyKey) -> None:
        """Note that the engine was told of it."""
        now = self._clock.now_ms()
        await self._commit("trigger", lambda tx: schedules.triggered(tx, owner, key, now))

    async def every(self) -> Sequence[Schedule]:
        """Return all schedules."""
        return await self._engine.read(schedules.every)

    async def fire(self, new: NewRun, firing: Firing) -> Accepted:
        """Put a firing and its run on record."""
        now = self._clock.now_ms()
        return await self._commit("fire", lambda tx: firings.fire(tx, new, firing, now))

    async def refuse(self, firing: Firing) -> Firing:
        """Put a firing without a run on record."""
        now = self._clock.now_ms()
        return await self._commit("fire", lambda tx: firings.refuse(tx, firing, now))

    async def firing(self, firing_id: str) -> Firing | None:
        """Return one firing."""
        return await self._engine.read(lambda tx: firings.read(tx, firing_id))

    async def fired(self, firing_id: str) -> Accepted | None:
        """Return the run of a firing."""
        return await self._engine.read(lambda tx: firings.fired(tx, firing_id))

    async def settle(self, firing_id: str) -> Firing | None:
        """Return a firing, noted as seen once its run has ended."""
        now = self._clock.now_ms()
        return await self._commit("settle", lambda tx: firings.settle(tx, firing_id, now))

    async def firings(self, uid: str, page: Page) -> tuple[Sequence[Firing], str | None]:
        """Return the firings of a schedule, newest first, and the next cursor."""
        return await self._engine.read(lambda tx: firings.page_of(tx, uid, page))

    async def going(self, uid: str | None = None) -> Sequence[Firing]:
        """Return the firings of a schedule, or of all, whose run goes on."""
        return await self._engine.read(lambda tx: firings.going(tx, uid))

    async def unseen(self, limit: int) -> Sequence[Firing]:
        """Return firings whose workflow has not been told that the run has ended."""
        return await self._engine.read(lambda tx: firings.unseen(tx, limit))
