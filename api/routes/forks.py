"""Forks and retries: a new run that goes on from a turn of another."""

from fastapi import APIRouter
from starlette.responses import Response

from api.bodies import JsonRoute
from api.forking import ForkBody, RetryBody, edits_of
from api.params import RunId
from api.routes.runs import How
from api.services import Desk, Invoker
from api.shapes.work import RunOut

router = APIRouter(tags=["runs"], route_class=JsonRoute)


@router.post(
    "/v1/runs/{run_id}/fork",
    operation_id="fork_run",
    status_code=202,
    responses={
        202: {"model": RunOut, "description": "Accepted and durable."},
        200: {"model": RunOut, "description": "Ended in time."},
        404: {},
        409: {},
    },
)
async def fork_run(
    desk: Desk,
    access: Invoker,
    run_id: RunId,
    body: ForkBody,
    how: How,
) -> Response:
    """Make a run that keeps the first `from_turn` turns of this one and goes on from there.

    It has a session of its own with the conversation so far. Kept tool calls are not made again and
    kept replies not billed again. An `input` replaces the question (turn 0), or follows the last
    kept turn. A run that goes on can be forked up to its last finished turn.
    """
    edits = edits_of(desk, access, "fork_run", run_id, how.key, body)
    accepted = await desk.forking.fork(access.who, run_id, body.from_turn, edits)
    return await how.answer(desk, accepted)


@router.post(
    "/v1/runs/{run_id}/retry",
    operation_id="retry_run",
    status_code=202,
    responses={
        202: {"model": RunOut, "description": "Accepted and durable."},
        200: {"model": RunOut, "description": "Ended in time."},
        404: {},
        409: {},
    },
)
async def retry_run(
    desk: Desk,
    access: Invoker,
    run_id: RunId,
    how: How,
    body: RetryBody | None = None,
) -> Response:
    """Make a run that goes on from the last good step of one that failed or was cancelled."""
    edits = edits_of(desk, access, "retry_run", run_id, how.key, body)
    accepted = await desk.forking.retry(access.who, run_id, edits)
    return await how.answer(desk, accepted)
