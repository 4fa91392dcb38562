"""Telling the engine how a schedule's row stands, and what becomes of what the engine refuses."""

import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from domain.errors import InvalidRequestError
from domain.schedule import Schedule

_LOG = logging.getLogger(__name__)
_MOST_SAID = 500

Tell = Callable[[str, str, Coroutine[Any, Any, None]], Awaitable[None]]
"""Makes a call to the engine about a schedule; the second argument names it in the log."""


class ScheduleRows(Protocol):
    """What telling needs of the record."""

    async def by_uid(self, uid: str) -> Schedule | None:
        """Return a schedule as the engine knows it, deleted ones too."""
        ...

    async def applied(self, uid: str, revision: int) -> bool:
        """Note which revision the engine was told; False when there is a newer one."""
        ...

    async def forget(self, uid: str) -> None:
        """Note that the engine no longer knows a deleted schedule; its firings stay readable."""
        ...

    async def pause(self, uid: str, revision: int, note: str) -> bool:
        """Pause a schedule unless it is paused or has changed since; return whether it was."""
        ...

    async def undo(self, made: Schedule, before: Schedule | None) -> bool:
        """Take a change back: the row stands as `before`, or is gone as if never made.

        False when it has changed since; nothing is done then.
        """
        ...


class ScheduleClock(Protocol):
    """What telling needs of the engine. Each raises `EngineUnavailableError` when it is away."""

    async def apply(self, schedule: Schedule) -> None:
        """Make or change the engine's schedule so that it agrees with the row.

        Raises:
            InvalidRequestError: the engine does not take it.
        """
        ...

    async def remove(self, uid: str) -> None:
        """Remove the engine's schedule; one that is not there is fine."""
        ...


class Telling:
    """Tells the engine of rows. `tell` says how long a caller waits for that."""

    def __init__(self, rows: ScheduleRows, engine: ScheduleClock, tell: Tell) -> None:
        self._rows = rows
        self._engine = engine
        self._tell = tell

    async def told(
        self, schedule: Schedule, undo: Callable[[], Awaitable[bool]] | None = None
    ) -> Schedule:
        """Tell the engine of a change, and return the row as it stands then.

        What the engine refuses while the caller waits is undone; later, and without `undo`, the
        row stays and is paused.

        Raises:
            InvalidRequestError: the engine does not take it, and nothing has changed.
        """
        refused: list[InvalidRequestError] = []
        waits = True

        async def tell() -> None:
            try:
                await self.sync(schedule.uid)
            except InvalidRequestError as error:
                if waits and undo is not None and await undo():
                    refused.append(error)
                else:
                    await self.refused(schedule.uid, error)

        await self._tell(schedule.schedule_id, "apply", tell())
        waits = False
        if refused:
            raise refused[0]
        return await self._rows.by_uid(schedule.uid) or schedule

    async def refused(self, uid: str, error: InvalidRequestError) -> None:
        """Keep a schedule that the engine refuses from firing as it stood before, and say why."""
        schedule = await self._rows.by_uid(uid)
        if schedule is None:
            return
        name = schedule.schedule_id
        extra = {"schedule_id": name}
        _LOG.error("schedule %s cannot be applied: %s", name, error.message, extra=extra)
        note = f"paused because it cannot be applied: {error.message}"[:_MOST_SAID]
        await self._rows.pause(uid, schedule.revision, note)

    async def pass_on(self, uid: str) -> None:
        """Tell the engine of a pause that the record made by itself."""
        schedule = await self._rows.by_uid(uid)
        if schedule is not None and schedule.paused and not schedule.is_applied:
            await self._tell(schedule.schedule_id, "pause", self.sync(uid))

    async def sync(self, uid: str) -> None:
        """Tell the engine how a row stands, until it has not changed meanwhile.

        Raises:
            InvalidRequestError: the engine does not take it.
            EngineUnavailableError, StoreUnavailableError: one side does not answer.
        """
        while True:
            schedule = await self._rows.by_uid(uid)
            if schedule is None:
                return
            if schedule.deleted:
                await self._engine.remove(uid)
                await self._rows.forget(uid)
                return
            await self._engine.apply(schedule)
            if await self._rows.applied(uid, schedule.revision):
                return
