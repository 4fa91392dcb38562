"""Schedules: runs that start by the clock."""

import asyncio
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import TypeAdapter
from starlette.responses import Response

from api.access import Access
from api.bodies import JsonRoute
from api.params import IdempotencyHeader, ScheduleKey, ScheduleQuery
from api.replies import listed, reply
from api.requests import StartRunBody
from api.schedule_bodies import (
    BackfillBody,
    NoteBody,
    ScheduleBody,
    ScheduleChangesBody,
    TriggerBody,
    zone_of,
)
from api.services import Desk, Invoker, Reader, Services
from api.shapes.scheduling import BackfillOut, FiringList, ScheduleList, ScheduleOut
from api.starting import claim, start_of
from api.views import firing_view, schedule_view
from domain.acceptance import Page
from domain.errors import InvalidRequestError
from domain.event import encode_json
from domain.intake import StartRun
from domain.schedule import Schedule, to_ms
from domain.scheduling import NewSchedule, ScheduleChanges
from domain.times import check_fires, count_times

router = APIRouter(tags=["schedules"], route_class=JsonRoute)
_ASK: TypeAdapter[StartRun] = TypeAdapter(StartRun)


@router.post(
    "/v1/schedules",
    operation_id="create_schedule",
    status_code=201,
    responses={201: {"model": ScheduleOut}, 404: {}, 409: {}},
)
async def create_schedule(desk: Desk, access: Invoker, body: ScheduleBody) -> Response:
    """Make a schedule: `run` is started at each time that `spec` names."""
    now = desk.ports.clock.now_ms()
    check_fires(body.spec, zone_of(body.spec), now, paused=body.paused)
    run, ask = await _kept(desk, access, body.run)
    ids = desk.ports.intake.ids
    schedule = await desk.scheduling.create(
        NewSchedule(
            uid=ids.new("schd").partition("_")[2],
            schedule_id=body.schedule_id or ids.new("sched"),
            owner=access.who.owner,
            run=run,
            ask=ask,
            spec=body.spec,
            policy=body.policy,
            paused=body.paused,
            note=body.note,
            created_by=access.who.name,
        )
    )
    at = {"location": f"/v1/schedules/{schedule.schedule_id}"}
    return reply(await _view(desk, schedule), 201, at)


async def _kept(desk: Services, access: Access, body: StartRunBody) -> tuple[str, str]:
    """Return a start body as it was sent, and what it stands for at every time.

    Raises:
        InvalidRequestError: it is about one moment.
        NotFoundError: its agent or goal is not there.
    """
    for name in ("deadline", "start_at", "start_delay"):
        if getattr(body, name) is not None:
            raise InvalidRequestError(
                f"{name} is about one run: `spec` says when, limits.max_seconds how long"
            )
    ask = start_of(body, None, desk.ports.clock.now_ms())
    ask = replace(ask, key_id=access.who.key_id)
    if ask.goal_id is not None:
        await desk.ports.goals.get_goal(access.who.owner, ask.goal_id)
    if ask.agent_id is not None:
        await desk.directory.get_agent(access.who.owner, ask.agent_id)
    sent = body.model_dump(mode="json", exclude_unset=True)
    return encode_json(sent), _ASK.dump_json(ask).decode()


async def _view(desk: Services, schedule: Schedule) -> dict[str, Any]:
    return schedule_view(await desk.scheduling.show(schedule))


@router.get(
    "/v1/schedules", operation_id="list_schedules", responses={200: {"model": ScheduleList}}
)
async def list_schedules(
    desk: Desk, access: Reader, query: Annotated[ScheduleQuery, Query()]
) -> Response:
    """List schedules, newest first."""
    page = Page(query.limit, query.cursor)
    found, following = await desk.scheduling.book.list(access.who.owner, page)
    views = await asyncio.gather(*(_view(desk, one) for one in found))
    return listed("schedules", list(views), following)


@router.get(
    "/v1/schedules/{schedule_id}",
    operation_id="get_schedule",
    responses={200: {"model": ScheduleOut}, 404: {}},
)
async def get_schedule(desk: Desk, access: Reader, schedule_id: ScheduleKey) -> Response:
    """Return one schedule, with its last firings and next times."""
    return reply(await _view(desk, await desk.scheduling.book.get(access.who.owner, schedule_id)))


@router.patch(
    "/v1/schedules/{schedule_id}",
    operation_id="change_schedule",
    responses={200: {"model": ScheduleOut}, 404: {}},
)
async def change_schedule(
    desk: Desk, access: Invoker, schedule_id: ScheduleKey, body: ScheduleChangesBody
) -> Response:
    """Change a schedule; runs that have started stay as they are."""
    sent = {name: getattr(body, name) for name in body.model_fields_set}
    if "spec" in sent:
        found = await desk.scheduling.book.get(access.who.owner, schedule_id)
        now = desk.ports.clock.now_ms()
        check_fires(body.spec, zone_of(body.spec), now, paused=found.paused)
    if "run" in sent:
        sent["run"], sent["ask"] = await _kept(desk, access, body.run)
    changed = await desk.scheduling.change(access.who.owner, schedule_id, ScheduleChanges(**sent))
    return reply(await _view(desk, changed))


@router.delete(
    "/v1/schedules/{schedule_id}",
    operation_id="delete_schedule",
    status_code=204,
    responses={204: {}, 404: {}},
)
async def delete_schedule(desk: Desk, access: Invoker, schedule_id: ScheduleKey) -> Response:
    """Remove a schedule. Runs that it has started go on."""
    await desk.scheduling.delete(access.who.owner, schedule_id)
    return Response(status_code=204)


@router.post(
    "/v1/schedules/{schedule_id}/pause",
    operation_id="pause_schedule",
    responses={200: {"model": ScheduleOut}, 404: {}},
)
async def pause_schedule(
    desk: Desk, access: Invoker, schedule_id: ScheduleKey, body: NoteBody | None = None
) -> Response:
    """Switch a schedule off. Times that come meanwhile are not made up for."""
    return await _switch(desk, access, schedule_id, body, paused=True)


@router.post(
    "/v1/schedules/{schedule_id}/resume",
    operation_id="resume_schedule",
    responses={200: {"model": ScheduleOut}, 404: {}},
)
async def resume_schedule(
    desk: Desk, access: Invoker, schedule_id: ScheduleKey, body: NoteBody | None = None
) -> Response:
    """Switch a schedule on again, from the next time on."""
    return await _switch(desk, access, schedule_id, body, paused=False)


async def _switch(
    desk: Services, access: Access, schedule_id: str, body: NoteBody | None, *, paused: bool
) -> Response:
    changes = ScheduleChanges(paused=paused, note=body.note if body else "")
    changed = await desk.scheduling.change(access.who.owner, schedule_id, changes)
    return reply(await _view(desk, changed))


@router.post(
    "/v1/schedules/{schedule_id}/trigger",
    operation_id="trigger_schedule",
    status_code=202,
    responses={202: {"model": ScheduleOut}, 404: {}, 409: {}},
)
async def trigger_schedule(
    desk: Desk,
    access: Invoker,
    schedule_id: ScheduleKey,
    body: TriggerBody | None = None,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Fire now, paused or not. Twice within one second is once.

    With an `Idempotency-Key` a repeat after a lost answer does not fire again.
    """
    body = body or TriggerBody()
    key = claim("trigger_schedule", access, schedule_id, idempotency_key, body)
    fired, replayed = await desk.scheduling.trigger(
        access.who.owner, schedule_id, body.overlap, key
    )
    headers = {"idempotency-replayed": "true"} if replayed else None
    return reply(await _view(desk, fired), 202, headers)


@router.post(
    "/v1/schedules/{schedule_id}/backfill",
    operation_id="backfill_schedule",
    status_code=202,
    responses={202: {"model": BackfillOut}, 404: {}},
)
async def backfill_schedule(
    desk: Desk, access: Invoker, schedule_id: ScheduleKey, body: BackfillBody
) -> Response:
    """Fire for the times of a past span, one after the other unless `overlap` says otherwise.

    A time that has fired does not fire again. A span holds at most 1,000 times.
    """
    span = (to_ms(body.start_at), to_ms(body.end_at))
    if span[1] < span[0]:
        raise InvalidRequestError("end_at is before start_at")
    if span[1] > desk.ports.clock.now_ms():
        raise InvalidRequestError("end_at is in the future; what is to come fires by itself")
    spec = (await desk.scheduling.book.get(access.who.owner, schedule_id)).spec
    times = count_times(spec, zone_of(spec), span)
    fired = await desk.scheduling.backfill(access.who.owner, schedule_id, span, body.overlap)
    return reply({**await _view(desk, fired), "times": times}, 202)


@router.get(
    "/v1/schedules/{schedule_id}/firings",
    operation_id="list_firings",
    responses={200: {"model": FiringList}, 404: {}},
)
async def list_firings(
    desk: Desk,
    access: Reader,
    schedule_id: ScheduleKey,
    query: Annotated[ScheduleQuery, Query()],
) -> Response:
    """List what a schedule has started, newest first; of a deleted one too."""
    book = desk.scheduling.book
    schedule = await book.latest(access.who.owner, schedule_id)
    found, following = await book.firings(schedule.uid, Page(query.limit, query.cursor))
    return listed("firings", [firing_view(one) for one in found], following)
