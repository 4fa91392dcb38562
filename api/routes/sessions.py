"""Sessions and their transcripts."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.bodies import JsonRoute
from api.openapi import created
from api.params import Cursor, IdempotencyHeader, Limit, MessageQuery, SessionKey
from api.replies import listed, reply
from api.requests import SessionBody, SessionChanges
from api.services import Desk, Invoker, Reader
from api.shapes.talk import ClearedOut, MessageList, SessionList, SessionOut
from api.starting import claim, replay_headers
from api.transcript import page_before
from api.views import message_view, session_view
from domain.acceptance import Page
from domain.session import OnBusy, Session

router = APIRouter(tags=["sessions"], route_class=JsonRoute)


@router.post(
    "/v1/sessions",
    operation_id="create_session",
    status_code=201,
    responses={201: created(SessionOut), 404: {}, 409: {}},
)
async def create_session(
    desk: Desk, access: Invoker, body: SessionBody, idempotency_key: IdempotencyHeader = None
) -> Response:
    """Make a session. A start with an unknown `session_id` makes one, too."""
    if body.agent_id is not None:
        await desk.directory.get_agent(access.who.owner, body.agent_id)
    session, replayed = await desk.directory.create_session(
        Session(
            session_id=body.session_id or desk.ports.intake.ids.new("sess"),
            owner=access.who.owner,
            agent_id=body.agent_id,
            on_busy=OnBusy(body.on_busy),
            message_count=0,
            token_count=0,
            active_run_id=None,
            queued_run_ids=(),
            created_at=desk.ports.clock.now_ms(),
            metadata=body.metadata,
        ),
        claim("create_session", access, None, idempotency_key, body),
    )
    where = {"location": f"/v1/sessions/{session.session_id}"}
    return reply(session_view(session), 201, where | (replay_headers(replayed) or {}))


@router.get("/v1/sessions", operation_id="list_sessions", responses={200: {"model": SessionList}})
async def list_sessions(
    desk: Desk, access: Reader, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List sessions, newest first."""
    page = Page(limit, cursor)
    sessions, following = await desk.directory.list_sessions(access.who.owner, page)
    return listed("sessions", [session_view(session) for session in sessions], following)


@router.get(
    "/v1/sessions/{session_id}",
    operation_id="get_session",
    responses={200: {"model": SessionOut}, 404: {}},
)
async def get_session(desk: Desk, access: Reader, session_id: SessionKey) -> Response:
    """Return one session with the run that holds it and those that wait for it."""
    return reply(session_view(await desk.directory.get_session(access.who.owner, session_id)))


@router.patch(
    "/v1/sessions/{session_id}",
    operation_id="update_session",
    responses={200: {"model": SessionOut}, 404: {}},
)
async def update_session(
    desk: Desk, access: Invoker, session_id: SessionKey, body: SessionChanges
) -> Response:
    """Change a session. `agent_id` null leaves the choice of the agent to us."""
    changes = body.model_dump(exclude_unset=True)
    if body.agent_id is not None:
        await desk.directory.get_agent(access.who.owner, body.agent_id)
    if "on_busy" in changes:
        changes["on_busy"] = OnBusy(body.on_busy)
    session = await desk.directory.update_session(access.who.owner, session_id, changes)
    return reply(session_view(session))


@router.delete(
    "/v1/sessions/{session_id}",
    operation_id="delete_session",
    status_code=204,
    responses={404: {}, 409: {}},
)
async def delete_session(desk: Desk, access: Invoker, session_id: SessionKey) -> Response:
    """Remove a session and its transcript; its runs stay. 409 while a run holds it."""
    await desk.directory.delete_session(access.who.owner, session_id)
    return Response(status_code=204)


@router.get(
    "/v1/sessions/{session_id}/messages",
    operation_id="list_messages",
    responses={200: {"model": MessageList}, 404: {}},
)
async def list_messages(
    desk: Desk, access: Reader, session_id: SessionKey, query: Annotated[MessageQuery, Query()]
) -> Response:
    """Return a transcript in order.

    `before` (a `seq`, a `message_id`, or `next_cursor` of such a page) gives the messages just
    before a place instead, and `next_cursor` then leads further back. Source: seed B.
    """
    owner = access.who.owner
    if query.before is None:
        page = Page(query.limit, query.cursor)
        messages, following = await desk.directory.list_messages(owner, session_id, page)
    else:
        place = (session_id, query.before)
        messages, following = await page_before(desk.directory, owner, place, query.limit)
    return listed("messages", [message_view(message) for message in messages], following)


@router.delete(
    "/v1/sessions/{session_id}/messages",
    operation_id="clear_messages",
    responses={200: {"model": ClearedOut}, 404: {}, 409: {}},
)
async def clear_messages(desk: Desk, access: Invoker, session_id: SessionKey) -> Response:
    """Empty a transcript. 409 while a run holds the session."""
    gone = await desk.directory.clear_messages(access.who.owner, session_id)
    return reply({"deleted": gone})
