"""The clock that fires: Temporal Schedules, one per schedule row, and the firings they start.

The schedule of row `x` is `schedule-x`; a firing's workflow is `fire-x-<its time>`, which Temporal
starts at most once. Every policy is set, because a server's own default for the catch-up window is
a year.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from temporalio.api.enums.v1 import ScheduleOverlapPolicy as ScheduleOverlapPolicyName
from temporalio.api.schedule.v1 import SchedulePatch, TriggerImmediatelyRequest
from temporalio.api.workflowservice.v1 import PatchScheduleRequest
from temporalio.client import (
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
)
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal import TemporalGateway
from domain import schedule as ours
from domain.cron import Moments, Ranges
from domain.errors import EngineUnavailableError, InvalidRequestError
from domain.order import FireOrder
from domain.schedule import Overlap, to_ms, workflow_of
from workflows.fire import FireWorkflow

T = TypeVar("T")

RPC_SECONDS = 10.0
LOOK_SECONDS = 2.0
"""For what is only shown: a list of schedules must not wait for a server that is away."""
_TRIES = 3
_OVERLAP = {
    Overlap.SKIP: ScheduleOverlapPolicy.SKIP,
    Overlap.BUFFER_ONE: ScheduleOverlapPolicy.BUFFER_ONE,
    Overlap.BUFFER_ALL: ScheduleOverlapPolicy.BUFFER_ALL,
    Overlap.CANCEL_OTHER: ScheduleOverlapPolicy.CANCEL_OTHER,
    Overlap.TERMINATE_OTHER: ScheduleOverlapPolicy.TERMINATE_OTHER,
    Overlap.ALLOW_ALL: ScheduleOverlapPolicy.ALLOW_ALL,
}


def temporal_schedule_id(uid: str) -> str:
    """Return the id of the Temporal Schedule of a schedule."""
    return f"schedule-{uid}"


class TemporalSchedules:
    """The `ScheduleEngine` over one client.

    Args:
        gateway: the connection, which also knows whether the cluster is the store's own.
    """

    def __init__(self, gateway: TemporalGateway) -> None:
        self._gateway = gateway
        self._client = gateway.client

    async def check(self) -> None:
        """Ask whether the server is there, and ours."""
        said = await self._gateway.check()
        if said is not None:
            raise EngineUnavailableError(said)

    async def apply(self, schedule: ours.Schedule) -> None:
        """Make or change the Temporal Schedule of a row."""
        try:
            await self._put(temporal_schedule_id(schedule.uid), self._wanted(schedule))
        except (OverflowError, ValueError) as error:
            # The SDK cannot put it into a message: a time out of its reach, as an example.
            raise InvalidRequestError(f"Temporal does not take it: {error}") from error

    async def _put(self, schedule_id: str, wanted: Schedule) -> None:
        handle = self._client.get_schedule_handle(schedule_id)
        for _ in range(_TRIES):
            try:
                await self._call(self._client.create_schedule(schedule_id, wanted))
            except ScheduleAlreadyRunningError:
                try:
                    await self._call(handle.update(lambda _: ScheduleUpdate(wanted)))
                except _MissingError:
                    continue  # somebody has removed it in between
            return
        raise EngineUnavailableError(f"{schedule_id} comes and goes in Temporal")

    async def agrees(self, schedule: ours.Schedule) -> bool:
        """Whether Temporal has this revision, paused or not as it says, and leaves that to us."""
        found = await self._describe(schedule.uid)
        if found is None:
            return False
        is_same = found.schedule.state.paused == schedule.paused
        is_ours = not found.schedule.policy.pause_on_failure
        return is_same and is_ours and _revision(found) == schedule.revision

    async def remove(self, uid: str) -> None:
        """Remove the Temporal Schedule."""
        handle = self._client.get_schedule_handle(temporal_schedule_id(uid))
        await self._ignoring_missing(handle.delete())

    async def upcoming(self, uid: str) -> Sequence[int]:
        """Return the next times, in ms."""
        found = await self._describe(uid, LOOK_SECONDS)
        if found is None or found.schedule.state.paused:
            return ()
        return tuple(to_ms(moment) for moment in found.info.next_action_times)

    async def trigger(self, uid: str, overlap: Overlap, at_ms: int | None = None) -> None:
        """Fire now, or as of a moment: the SDK's own call cannot name one."""
        now = TriggerImmediatelyRequest(
            overlap_policy=ScheduleOverlapPolicyName.ValueType(_OVERLAP[overlap])
        )
        if at_ms is not None:
            now.scheduled_time.FromMilliseconds(at_ms)
        request = PatchScheduleRequest(
            namespace=self._client.namespace,
            schedule_id=temporal_schedule_id(uid),
            patch=SchedulePatch(trigger_immediately=now),
            identity=self._client.identity,
            request_id=str(uuid.uuid4()) if at_ms is None else f"trigger-{uid}-{at_ms}",
        )
        call = self._client.workflow_service.patch_schedule(request, retry=True)
        await self._present(uid, call)

    async def backfill(self, uid: str, start_ms: int, end_ms: int, overlap: Overlap) -> None:
        """Fire for every time of a span."""
        handle = self._client.get_schedule_handle(temporal_schedule_id(uid))
        span = ScheduleBackfill(_moment(start_ms), _moment(end_ms), _OVERLAP[overlap])
        await self._present(uid, handle.backfill(span))

    async def _present(self, uid: str, call: Awaitable[object]) -> None:
        """Wait for a call about a schedule that was there a moment ago."""
        try:
            await self._call(call)
        except _MissingError as error:
            raise EngineUnavailableError(
                f"{temporal_schedule_id(uid)} was removed in Temporal meanwhile; try again"
            ) from error

    async def wake_firing(self, firing_id: str) -> bool:
        """Tell a firing's workflow to look at the store."""
        handle = self._client.get_workflow_handle(workflow_of(firing_id))
        return await self._ignoring_missing(handle.signal("wake"))

    async def is_terminated(self, firing_id: str) -> bool:
        """Whether a firing's workflow was terminated, by an overlap policy or by hand."""
        handle = self._client.get_workflow_handle(workflow_of(firing_id))
        try:
            status = (await self._call(handle.describe())).status
        except _MissingError:
            return False
        return status is not None and status.name == "TERMINATED"

    async def _describe(self, uid: str, seconds: float = RPC_SECONDS) -> ScheduleDescription | None:
        handle = self._client.get_schedule_handle(temporal_schedule_id(uid))
        try:
            return await self._call(handle.describe(), seconds)
        except _MissingError:
            return None

    async def _ignoring_missing(self, call: Awaitable[object]) -> bool:
        try:
            await self._call(call)
        except _MissingError:
            return False
        return True

    async def _call(self, call: Awaitable[T], seconds: float = RPC_SECONDS) -> T:
        """Wait for an RPC, but not for ever.

        Raises:
            EngineUnavailableError: it did not answer in time, is not there or is not ours.
            InvalidRequestError: it does not take what was sent.
            _MissingError: what was asked about is not there.
        """
        work = asyncio.ensure_future(call)
        if self._gateway.mismatch is not None:
            work.cancel()
            raise EngineUnavailableError(self._gateway.mismatch)
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError as error:
            raise EngineUnavailableError("the Temporal server did not answer in time") from error
        except RPCError as error:
            if _is_missing(error):
                raise _MissingError from error
            if error.status is RPCStatusCode.INVALID_ARGUMENT:
                raise InvalidRequestError(f"Temporal does not take it: {error.message}") from error
            raise EngineUnavailableError(f"the Temporal server refused: {error}") from error

    def _wanted(self, schedule: ours.Schedule) -> Schedule:
        spec, policy = schedule.spec, schedule.policy
        return Schedule(
            action=ScheduleActionStartWorkflow(
                FireWorkflow.run,
                FireOrder(uid=schedule.uid, revision=schedule.revision),
                id=f"fire-{schedule.uid}",
                task_queue=self._gateway.task_queue,
                task_timeout=timedelta(seconds=5),
                static_summary=f"schedule {schedule.schedule_id}",
            ),
            spec=ScheduleSpec(
                calendars=[_calendar(one) for one in spec.moments()],
                intervals=[
                    ScheduleIntervalSpec(
                        every=timedelta(seconds=one.every_seconds),
                        offset=timedelta(seconds=one.offset_seconds),
                    )
                    for one in spec.intervals
                ],
                skip=[_calendar(one.moments()) for one in spec.skip],
                start_at=spec.start_at,
                end_at=spec.end_at,
                jitter=timedelta(seconds=spec.jitter_seconds),
                time_zone_name=spec.timezone,
            ),
            policy=SchedulePolicy(
                overlap=_OVERLAP[policy.overlap],
                catchup_window=timedelta(seconds=policy.catchup_window_seconds),
                # Our row pauses: Temporal's own pause would know nothing of it.
                pause_on_failure=False,
            ),
            state=ScheduleState(
                note=schedule.note or None,
                paused=schedule.paused,
                limited_actions=False,
                remaining_actions=0,
            ),
        )


class _MissingError(Exception):
    """Temporal does not know the schedule or workflow that it was asked about."""


def _is_missing(error: RPCError) -> bool:
    """Whether what was asked about is not there, or was closed while it was asked."""
    if error.status is RPCStatusCode.FAILED_PRECONDITION:
        return "closed before" in error.message
    # A missing namespace says nothing about what is in it.
    return error.status is RPCStatusCode.NOT_FOUND and "amespace" not in error.message


def _revision(found: ScheduleDescription) -> int | None:
    """Return which revision of the row a Temporal Schedule was made of."""
    action = found.schedule.action
    if not isinstance(action, ScheduleActionStartWorkflow) or not action.args:
        return None
    try:
        return int(json.loads(action.args[0].data)["revision"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # somebody changed it by hand: it is set right


def _calendar(moments: Moments) -> ScheduleCalendarSpec:
    return ScheduleCalendarSpec(
        second=_ranges(moments.second),
        minute=_ranges(moments.minute),
        hour=_ranges(moments.hour),
        day_of_month=_ranges(moments.day_of_month),
        month=_ranges(moments.month),
        year=_ranges(moments.year),
        day_of_week=_ranges(moments.day_of_week),
        comment=moments.comment,
    )


def _ranges(parts: Ranges) -> list[ScheduleRange]:
    return [ScheduleRange(part.start, part.end, part.step) for part in parts]


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
