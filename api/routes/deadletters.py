"""Dead letters: runs that were given up on. Looked at, re-driven or discarded by people."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field
from starlette.responses import Response

from api.bodies import JsonRoute
from api.forking import RedriveBody, edits_of
from api.params import DeadLetterId, DeadLetterQuery
from api.replies import listed, reply
from api.requests import Body
from api.routes.runs import How
from api.services import Desk, Invoker, Reader
from api.shapes.letters import DeadLetterList, DeadLetterOut
from api.shapes.work import RunOut
from api.views import dead_letter_view
from domain.acceptance import Page

router = APIRouter(tags=["dead letters"], route_class=JsonRoute)


class DiscardBody(Body):
    """Why nothing is done about it."""

    note: Annotated[str, Field(max_length=1000)] | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "it was sent twice"}]})


@router.get(
    "/v1/dead_letters",
    operation_id="list_dead_letters",
    responses={200: {"model": DeadLetterList}},
)
async def list_dead_letters(
    desk: Desk, access: Reader, query: Annotated[DeadLetterQuery, Query()]
) -> Response:
    """List dead letters, newest first; `?status=waiting` are those that nobody has settled."""
    book, page = desk.ports.dead_letters, Page(query.limit, query.cursor)
    found, following = await book.list_letters(access.who.owner, query.status, page)
    return listed("dead_letters", [dead_letter_view(one) for one in found], following)


@router.get(
    "/v1/dead_letters/{dead_letter_id}",
    operation_id="get_dead_letter",
    responses={200: {"model": DeadLetterOut}, 404: {}},
)
async def get_dead_letter(desk: Desk, access: Reader, dead_letter_id: DeadLetterId) -> Response:
    """Return one dead letter."""
    found = await desk.ports.dead_letters.get_letter(access.who.owner, dead_letter_id)
    return reply(dead_letter_view(found))


@router.post(
    "/v1/dead_letters/{dead_letter_id}/redrive",
    operation_id="redrive_dead_letter",
    status_code=202,
    responses={
        202: {"model": RunOut, "description": "Accepted and durable."},
        200: {"model": RunOut, "description": "Ended in time."},
        404: {},
        409: {},
    },
)
async def redrive_dead_letter(
    desk: Desk,
    access: Invoker,
    dead_letter_id: DeadLetterId,
    how: How,
    body: RedriveBody | None = None,
) -> Response:
    """Make a new run of it, once: from its last good step, or from the start with an `input`."""
    edits = edits_of(desk, access, "redrive", dead_letter_id, how.key, body)
    accepted = await desk.forking.redrive(access.who, dead_letter_id, edits)
    return await how.answer(desk, accepted)


@router.post(
    "/v1/dead_letters/{dead_letter_id}/discard",
    operation_id="discard_dead_letter",
    responses={200: {"model": DeadLetterOut}, 404: {}, 409: {}},
)
async def discard_dead_letter(
    desk: Desk, access: Invoker, dead_letter_id: DeadLetterId, body: DiscardBody | None = None
) -> Response:
    """Put on record that nothing will be done about it. The run stays as it is."""
    note = body.note if body else None
    book = desk.ports.dead_letters
    settled_now = await book.discard(access.who.owner, dead_letter_id, access.who.signature, note)
    return reply(dead_letter_view(settled_now))
