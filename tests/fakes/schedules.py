"""A schedule book in memory and an engine that only writes down what it was told."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.acceptance import Accepted, IdempotencyKey, NewRun, Page
from domain.errors import (
    ConflictError,
    EngineUnavailableError,
    IdempotencyKeyConflictError,
    NotFoundError,
)
from domain.principal import LOCAL_OWNER
from domain.run import RunState
from domain.schedule import Firing, Overlap, Schedule, SchedulePolicy, ScheduleSpec
from domain.scheduling import NewSchedule, ScheduleChanges, Trigger
from tests.fakes.clock import NOW


@dataclass
class FakeSchedules:
    """Schedules in memory; firings are put there by the test."""

    rows: dict[str, Schedule] = field(default_factory=dict)
    fired_rows: list[Firing] = field(default_factory=list)
    triggers: dict[IdempotencyKey, Trigger] = field(default_factory=dict)
    gone: dict[str, Schedule] = field(default_factory=dict)
    """Deleted schedules that the engine no longer knows."""

    def furnish(self) -> None:
        """Put one schedule there, which has fired once."""
        self.rows["u01k9"] = Schedule(
            uid="u01k9",
            schedule_id="morning-report",
            owner=LOCAL_OWNER,
            run='{"input":"What happened last night?"}',
            ask="{}",
            spec=ScheduleSpec(cron=("30 7 * * *",)),
            policy=SchedulePolicy(),
            paused=False,
            note="",
            revision=1,
            applied_revision=1,
            deleted=False,
            created_by="ann",
            created_at=NOW,
            updated_at=NOW,
        )
        self.fired_rows.append(
            Firing(
                firing_id="fire_u01k9-1",
                uid="u01k9",
                schedule_id="morning-report",
                owner=LOCAL_OWNER,
                scheduled_at=NOW,
                run_id="run_01k9",
                state=RunState.DONE,
                error_code=None,
                error_message=None,
                created_at=NOW,
                ended_at=NOW,
            )
        )

    async def add(self, new: NewSchedule) -> Schedule:
        if any(
            (one.owner, one.schedule_id) == (new.owner, new.schedule_id)
            for one in self.rows.values()
        ):
            raise ConflictError(f"there is a schedule {new.schedule_id}")
        self.rows[new.uid] = Schedule(
            uid=new.uid,
            schedule_id=new.schedule_id,
            owner=new.owner,
            run=new.run,
            ask=new.ask,
            spec=new.spec,
            policy=new.policy,
            paused=new.paused,
            note=new.note,
            revision=1,
            applied_revision=0,
            deleted=False,
            created_by=new.created_by,
            created_at=NOW,
            updated_at=NOW,
        )
        return self.rows[new.uid]

    async def get(self, owner: str | None, schedule_id: str) -> Schedule:
        for one in self.rows.values():
            if one.schedule_id == schedule_id and owner in (None, one.owner) and not one.deleted:
                return one
        raise NotFoundError(f"there is no schedule {schedule_id}")

    async def by_uid(self, uid: str) -> Schedule | None:
        return self.rows.get(uid)

    async def list(self, owner: str | None, page: Page) -> tuple[Sequence[Schedule], str | None]:
        found = [one for one in self.rows.values() if owner in (None, one.owner)]
        return [one for one in found if not one.deleted][: page.limit], None

    async def change(self, owner: str | None, schedule_id: str, to: ScheduleChanges) -> Schedule:
        found = await self.get(owner, schedule_id)
        names = ("run", "ask", "spec", "policy", "paused", "note")
        changes = {n: getattr(to, n) for n in names if getattr(to, n) is not None}
        return self._put(found, revision=found.revision + 1, **changes)

    def _put(self, found: Schedule, **changes: object) -> Schedule:
        self.rows[found.uid] = found.model_copy(update=changes)
        return self.rows[found.uid]

    async def delete(self, owner: str | None, schedule_id: str) -> Schedule:
        found = await self.get(owner, schedule_id)
        return self._put(found, deleted=True, revision=found.revision + 1)

    async def applied(self, uid: str, revision: int) -> bool:
        return self._put(self.rows[uid], applied_revision=revision).is_applied

    async def forget(self, uid: str) -> None:
        self.gone[uid] = self.rows.pop(uid)

    async def latest(self, owner: str | None, schedule_id: str) -> Schedule:
        everyone = {**self.gone, **self.rows}
        for one in reversed(everyone.values()):
            if one.schedule_id == schedule_id and owner in (None, one.owner):
                return one
        raise NotFoundError(f"there is no schedule {schedule_id}")

    async def pause(self, uid: str, revision: int, note: str) -> bool:
        found = self.rows[uid]
        if found.paused or found.revision != revision:
            return False
        self._put(found, paused=True, note=note, revision=revision + 1)
        return True

    async def undo(self, made: Schedule, before: Schedule | None) -> bool:
        if self.rows[made.uid].revision != made.revision:
            return False
        del self.rows[made.uid]
        if before is not None:
            self.rows[made.uid] = before
        return True

    async def claim_trigger(self, owner: str, key: IdempotencyKey) -> Trigger:
        for known in self.triggers:
            if (known.scope, known.key) == (key.scope, key.key) and known != key:
                raise IdempotencyKeyConflictError(f"{key.key} was used with another body")
        return self.triggers.setdefault(key, Trigger(NOW + len(self.triggers), is_done=False))

    async def triggered(self, owner: str, key: IdempotencyKey) -> None:
        self.triggers[key] = Trigger(self.triggers[key].at, is_done=True)

    async def every(self) -> Sequence[Schedule]:
        return tuple(self.rows.values())

    async def fire(self, new: NewRun, firing: Firing) -> Accepted:
        raise NotImplementedError  # a store's own tests do this

    async def refuse(self, firing: Firing) -> Firing:
        self.fired_rows.append(firing)
        return firing

    async def firing(self, firing_id: str) -> Firing | None:
        return next((one for one in self.fired_rows if one.firing_id == firing_id), None)

    async def fired(self, firing_id: str) -> Accepted | None:
        raise NotImplementedError  # as above

    async def settle(self, firing_id: str) -> Firing | None:
        found = await self.firing(firing_id)
        if found is not None:
            self.fired_rows.remove(found)
            self.fired_rows.append(found.model_copy(update={"ended_at": NOW}))
        return found

    async def firings(self, uid: str, page: Page) -> tuple[Sequence[Firing], str | None]:
        return [one for one in self.fired_rows if one.uid == uid][: page.limit], None

    async def going(self, uid: str | None = None) -> Sequence[Firing]:
        return [one for one in self.fired_rows if one.ended_at is None and uid in (None, one.uid)]

    async def unseen(self, limit: int) -> Sequence[Firing]:
        return [one for one in self.fired_rows if one.ended_at is None][:limit]


@dataclass
class FakeScheduler:
    """An engine that may be away; `schedules` is what it knows, by uid."""

    schedules: dict[str, Schedule] = field(default_factory=dict)
    fired: list[tuple[object, ...]] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    """Firings whose workflow is closed."""
    refuses: Exception | None = None
    is_away: bool = False

    def _reach(self) -> None:
        if self.is_away:
            raise EngineUnavailableError("the engine is away")

    async def check(self) -> None:
        self._reach()
        if isinstance(self.refuses, EngineUnavailableError):
            raise self.refuses

    async def apply(self, schedule: Schedule) -> None:
        self._reach()
        if self.refuses is not None:
            raise self.refuses
        self.schedules[schedule.uid] = schedule

    async def agrees(self, schedule: Schedule) -> bool:
        self._reach()
        known = self.schedules.get(schedule.uid)
        return known is not None and known.revision == schedule.revision

    async def remove(self, uid: str) -> None:
        self._reach()
        self.schedules.pop(uid, None)

    async def upcoming(self, uid: str) -> Sequence[int]:
        self._reach()
        return (NOW + 60_000,) if uid in self.schedules else ()

    async def trigger(self, uid: str, overlap: Overlap, at_ms: int | None = None) -> None:
        self._reach()
        assert uid in self.schedules, "it was told before it fires"
        at = () if at_ms is None else (at_ms,)
        self.fired.append(("trigger", self.schedules[uid].schedule_id, overlap, *at))

    async def backfill(self, uid: str, start_ms: int, end_ms: int, overlap: Overlap) -> None:
        self._reach()
        self.fired.append(("backfill", start_ms, end_ms, overlap))

    async def wake_firing(self, firing_id: str) -> bool:
        self._reach()
        self.fired.append(("wake", firing_id))
        return firing_id not in self.closed

    async def is_terminated(self, firing_id: str) -> bool:
        self._reach()
        return False
