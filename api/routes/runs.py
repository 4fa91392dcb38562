"""Runs: start, look at, cancel."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from api.bodies import JsonRoute
from api.openapi import EVENT_STREAM, one_of
from api.params import Cursor, IdempotencyHeader, Limit, RunId, RunQuery, Wait
from api.replies import listed, reply, wants_stream
from api.requests import CancelBody, StartRunBody
from api.routes.events import open_stream
from api.services import Desk, Invoker, Reader, Services
from api.shapes.work import RunList, RunOut
from api.starting import claim, start_and_tail, start_of, wait_for_end
from api.views import run_view
from domain.acceptance import Accepted, Page, RunFilter
from domain.run import Run

router = APIRouter(tags=["runs"], route_class=JsonRoute)


def run_reply(desk: Services, run: Run, status: int, replayed: bool = False) -> Response:
    """Return a run with its address."""
    return reply(run_view(run, desk.link(run.run_id)), status, headers_of(run, replayed))


def headers_of(run: Run, replayed: bool) -> dict[str, str]:
    """Return the headers of an answer to a start."""
    headers = {"location": f"/v1/runs/{run.run_id}"}
    if replayed:
        headers["idempotency-replayed"] = "true"
    return headers


@router.post(
    "/v1/runs",
    operation_id="start_run",
    status_code=202,
    responses={
        202: {"model": RunOut, "description": "Accepted and durable."},
        200: one_of(RunOut, EVENT_STREAM, "Ended in time, or the run's events from the first on."),
        **{status: {} for status in (404, 409)},
    },
)
async def start_run(
    desk: Desk,
    access: Invoker,
    request: Request,
    body: StartRunBody,
    wait: Wait = None,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Start a run.

    Without `agent_id` the session's agent does it, else the one whose description fits best.
    With `Accept: text/event-stream` the answer is the stream of the run's events.
    """
    key = claim("start_run", access, body.session_id, idempotency_key, body)
    ask = start_of(body, key, desk.ports.clock.now_ms())
    if wants_stream(request):
        desk.keeper.admit(access)
        accepted, tail = await start_and_tail(desk, access, ask)
        request.scope["run_id"] = accepted.run.run_id
        headers = headers_of(accepted.run, accepted.replayed)
        return open_stream(desk, access, tail, None, headers)
    accepted = await desk.intake.start_run(access.who, ask)
    request.scope["run_id"] = accepted.run.run_id
    return await _settled(desk, accepted, wait)


class Terms:
    """How a caller of anything that starts a run wants to be answered."""

    def __init__(
        self, request: Request, wait: Wait = None, idempotency_key: IdempotencyHeader = None
    ) -> None:
        self._request = request
        self._wait = wait
        self.key = idempotency_key

    async def answer(self, desk: Services, accepted: Accepted) -> Response:
        """Return the run: at once, or after its end if that is waited for."""
        self._request.scope["run_id"] = accepted.run.run_id
        return await _settled(desk, accepted, self._wait)


How = Annotated[Terms, Depends()]


async def _settled(desk: Services, accepted: Accepted, wait: float | None) -> Response:
    if wait is None:
        return run_reply(desk, accepted.run, 202, accepted.replayed)
    run = await wait_for_end(desk, accepted.run, wait)
    return run_reply(desk, run, 200 if run.is_terminal else 202, accepted.replayed)


@router.get("/v1/runs", operation_id="list_runs", responses={200: {"model": RunList}})
async def list_runs(
    desk: Desk,
    access: Reader,
    query: Annotated[RunQuery, Query()],
) -> Response:
    """List runs, newest first."""
    which = RunFilter(
        query.state,
        query.agent_id,
        query.session_id,
        query.kind,
        forked_from=query.forked_from,
        parent_run_id=query.parent_run_id,
        root_run_id=query.root_run_id,
        goal_id=query.goal_id,
    )
    page = Page(query.limit, query.cursor)
    runs, following = await desk.runs.list_runs(access.who.owner, which, page)
    return listed("runs", [run_view(run, desk.link(run.run_id)) for run in runs], following)


@router.get(
    "/v1/runs/{run_id}", operation_id="get_run", responses={200: {"model": RunOut}, 404: {}}
)
async def get_run(desk: Desk, access: Reader, run_id: RunId) -> Response:
    """Return one run."""
    run = await desk.runs.get_run(access.who.owner, run_id)
    return reply(run_view(run, desk.link(run_id)))


@router.get(
    "/v1/runs/{run_id}/children",
    operation_id="list_children",
    responses={200: {"model": RunList}, 404: {}},
)
async def list_children(
    desk: Desk, access: Reader, run_id: RunId, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List the runs that a run made, newest first; `?root_run_id=` of the list has whole trees."""
    await desk.runs.get_run(access.who.owner, run_id)
    which = RunFilter(parent_run_id=run_id)
    runs, following = await desk.runs.list_runs(access.who.owner, which, Page(limit, cursor))
    return listed("runs", [run_view(run, desk.link(run.run_id)) for run in runs], following)


@router.post(
    "/v1/runs/{run_id}/cancel",
    operation_id="cancel_run",
    status_code=202,
    responses={202: {"model": RunOut}, 404: {}},
)
async def cancel_run(
    desk: Desk, access: Invoker, run_id: RunId, body: CancelBody | None = None
) -> Response:
    """Ask a run, and all below it, to stop. One that has ended is returned as it is."""
    run = await desk.intake.cancel(access.who, run_id, body.reason if body else None)
    return run_reply(desk, run, 202)
