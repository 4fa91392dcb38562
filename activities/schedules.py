"""Firings: the run of a schedule's time is made, stopped, and its end read.

Side effects: a firing's row with its run; a cancel on record. Idempotency: the firing's id, which
comes from the engine's workflow id. Raises the errors of ours as failures; what cannot be mended by
trying again is on record as the firing's error.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from typing import Protocol

from pydantic import TypeAdapter
from temporalio import activity

from activities import failures
from domain.acceptance import Accepted
from domain.alone import alone
from domain.errors import NotFoundError, OrchestratorError, PermanentError
from domain.intake import Intake, StartRun
from domain.order import FireReply, FireRequest, FiringEnd, StartTicket
from domain.principal import Principal, Scope
from domain.run import Run, RunSpec, RunState
from domain.schedule import Firing, Overlap, Schedule, run_of, to_iso
from domain.scheduling import ScheduleBook, ScheduleEngine, Scheduling

_log = logging.getLogger(__name__)
_TELL_SECONDS = 3.0
"""For what the reconciler would tell the engine too: no firing waits longer for it."""

ASK: TypeAdapter[StartRun] = TypeAdapter(StartRun)
"""How a start body is kept between firings."""


class Tickets(Protocol):
    """How a run's workflow is started by another workflow."""

    def ticket(self, run: Run, spec: RunSpec, *, queued: bool) -> StartTicket:
        """Return what starting it takes."""
        ...


@dataclass(frozen=True, slots=True)
class SchedulePorts:
    """What firing needs."""

    book: ScheduleBook
    intake: Intake
    tickets: Tickets
    scheduling: Scheduling
    engine: ScheduleEngine


class ScheduleActivities:
    """What `FireWorkflow` does to the world."""

    def __init__(self, ports: SchedulePorts) -> None:
        self._ports = ports

    @activity.defn(name="fire_schedule")
    async def fire_schedule(self, request: FireRequest) -> FireReply:
        """Return the run of a firing, made now or found."""
        try:
            return await self._fire(request)
        except OrchestratorError as error:
            raise failures.named(error) from error

    @activity.defn(name="read_firing")
    async def read_firing(self, firing_id: str) -> FiringEnd:
        """Say how a firing's run stands, and note an end as seen."""
        try:
            firing = await self._ports.book.settle(firing_id)
            made = await self._ports.book.fired(firing_id)
            if firing is None or made is None:
                raise NotFoundError(f"there is no firing {firing_id} with a run")
            if made.run.state is RunState.FAILED:
                await self._pass_on(firing)
        except OrchestratorError as error:
            raise failures.named(error) from error
        run = made.run
        why = run.error if run.state is RunState.FAILED else None
        return FiringEnd(
            state=run.state.value,
            is_over=run.is_terminal,
            code=why.code if why else None,
            message=why.message if why else "",
        )

    @activity.defn(name="stop_firing")
    async def stop_firing(self, firing_id: str) -> None:
        """Ask the run of a firing to stop."""
        try:
            firing = await self._ports.book.firing(firing_id)
            if firing is not None:
                await self._stop(firing, "its firing was cancelled, or a later one came")
        except OrchestratorError as error:
            raise failures.named(error) from error

    async def _fire(self, request: FireRequest) -> FireReply:
        book = self._ports.book
        known = await book.firing(request.firing_id)
        if known is not None:
            made = await book.fired(known.firing_id)
            return _refused(known) if made is None else self._reply(made)
        schedule = await book.by_uid(request.uid)
        if schedule is None or schedule.deleted:
            return FireReply(state="gone", code="schedule_gone", message="it was deleted")
        firing = _firing(request, schedule)
        if schedule.paused and not schedule.is_applied:
            # Paused while the engine could not be told: what it fires late is not wanted.
            return await self._refuse(firing, "schedule_paused", "the schedule was paused")
        try:
            return self._reply(await self._make_run(schedule, firing))
        except PermanentError as error:
            refused = await self._refuse(firing, error.code, error.message)
            await self._pass_on(firing)
            return refused

    async def _make_run(self, schedule: Schedule, firing: Firing) -> Accepted:
        who = _principal(schedule)
        ask = ASK.validate_json(schedule.ask)
        origin = {
            "schedule_id": schedule.schedule_id,
            "firing_id": firing.firing_id,
            "scheduled_at": to_iso(firing.scheduled_at),
        }
        ask = replace(ask, metadata={**ask.metadata, "schedule": origin}, idempotency=None)
        assert firing.run_id is not None
        new = await self._ports.intake.prepare(who, ask, firing.run_id)
        accepted = await self._ports.book.fire(new, firing)
        await self._ports.intake.make_way(accepted)
        if schedule.policy.overlap is Overlap.TERMINATE_OTHER and not accepted.replayed:
            await self._stop_others(firing)
        return accepted

    def _reply(self, accepted: Accepted) -> FireReply:
        run = accepted.run
        ticket = self._ports.tickets.ticket(run, accepted.spec, queued=accepted.queued)
        return FireReply(ticket=ticket, run_id=run.run_id, state=run.state.value)

    async def _stop_others(self, firing: Firing) -> None:
        """Stop the runs of firings that were terminated for this one: no code of theirs runs."""
        for other in await self._ports.book.going(firing.uid):
            if other.firing_id != firing.firing_id:
                await self._stop(other, "a later time of its schedule came")

    async def mend(self) -> int:
        """Make both sides agree: schedules, lost wakes, runs of firings that were terminated.

        Returns how many were not as they should be. Each is looked at alone, as in `alone`.

        Raises:
            EngineUnavailableError, StoreUnavailableError: one side does not answer.
        """
        mended, check = await self._ports.scheduling.mend(), self._ports.engine.check
        for firing in await self._ports.book.going():
            mended += await alone("firing", firing.firing_id, self._stop_terminated(firing), check)
        return mended

    async def _stop_terminated(self, firing: Firing) -> int:
        if not await self._ports.engine.is_terminated(firing.firing_id):
            return 0
        await self._stop(firing, "its firing was terminated")
        return 1

    async def _stop(self, firing: Firing, reason: str) -> None:
        if firing.run_id == run_of(firing.firing_id, firing.scheduled_at):
            # Not a run that others began, and that only took its message.
            who = Principal(owner=firing.owner, name="schedule", scopes=frozenset())
            await self._ports.intake.cancel(who, firing.run_id, reason)

    async def _refuse(self, firing: Firing, code: str, message: str) -> FireReply:
        refused = firing.model_copy(update={"error_code": code, "error_message": message})
        _log.warning("schedule %s fired in vain: %s", firing.schedule_id, message)
        return _refused(await self._ports.book.refuse(refused))

    async def _pass_on(self, firing: Firing) -> None:
        """Tell the engine if the failure of a firing has paused its schedule."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TELL_SECONDS):
                await self._ports.scheduling.pass_on(firing.uid)


def _firing(request: FireRequest, schedule: Schedule) -> Firing:
    return Firing(
        firing_id=request.firing_id,
        uid=schedule.uid,
        schedule_id=schedule.schedule_id,
        owner=schedule.owner,
        scheduled_at=request.scheduled_at,
        run_id=run_of(request.firing_id, request.scheduled_at),
        state=None,
        error_code=None,
        error_message=None,
        created_at=0,
        ended_at=None,
    )


def _principal(schedule: Schedule) -> Principal:
    name = f"schedule {schedule.schedule_id}"
    return Principal(owner=schedule.owner, name=name, scopes=frozenset({Scope.INVOKE}))


def _refused(firing: Firing) -> FireReply:
    return FireReply(
        state="refused",
        code=firing.error_code or "internal_error",
        message=firing.error_message or "",
    )
