"""Tool hosts: clients that run tools for any run of their owner."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access import Access
from api.bodies import JsonRoute
from api.client_bodies import BeatBody, HostBody, PollBody
from api.client_tools import beat_view, dispatch_view, host_tools, host_view, request_view
from api.openapi import REQUEST_STREAM, one_of
from api.params import Cursor, HostKey, IdempotencyHeader, Limit
from api.polling import announced, poll
from api.replies import listed, reply, wants_stream
from api.services import Desk, Invoker, Reader, Services
from api.shapes.clients import BeatOut, DispatchList, HostList, HostOut, RequestList
from api.sse import EventStream
from domain.acceptance import Page
from domain.clients import Claim, ToolHost
from domain.errors import ConflictError
from domain.principal import Scope
from domain.tool import ToolSpec

router = APIRouter(tags=["tool hosts"], route_class=JsonRoute)


def claim_of(access: Access, host_id: str | None, key: str | None = None) -> Claim:
    """Return who takes requests."""
    who = access.who
    return Claim(owner=who.owner, caller=access.caller, name=who.name, host_id=host_id, key=key)


async def register(
    desk: Services, access: Access, host_id: str, tools: tuple[ToolSpec, ...], seconds: float
) -> ToolHost:
    """Register a tool host, or what it offers now.

    Raises:
        ConflictError: a tool of ours has such a name.
        ForbiddenError: another key registered the host, or such a tool.
    """
    ours = {spec.name for spec in desk.ports.intake.toolbox.specs()}
    taken = sorted(ours & {tool.name for tool in tools})
    if taken:
        raise ConflictError(f"there is a tool {taken[0]} here already; use another name")
    now = desk.ports.clock.now_ms()
    lease_ms = int(seconds * 1000)
    host = ToolHost(
        host_id=host_id,
        owner=access.who.owner,
        keeper=access.caller,
        tools=tools,
        lease_ms=lease_ms,
        alive_until=now + lease_ms,
        created_at=now,
        updated_at=now,
    )
    may_replace = Scope.ADMIN in access.who.scopes
    return await desk.dispatching.book.put_host(host, may_replace=may_replace)


@router.get("/v1/tool_hosts", operation_id="list_tool_hosts", responses={200: {"model": HostList}})
async def list_hosts(
    desk: Desk, access: Reader, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List tool hosts, newest first; `is_there` says which were heard of lately."""
    now = desk.ports.clock.now_ms()
    found, following = await desk.dispatching.book.list_hosts(access.who.owner, Page(limit, cursor))
    return listed("tool_hosts", [host_view(host, now) for host in found], following)


@router.get(
    "/v1/tool_hosts/{host_id}",
    operation_id="get_tool_host",
    responses={200: {"model": HostOut}, 404: {}},
)
async def get_host(desk: Desk, access: Reader, host_id: HostKey) -> Response:
    """Return one tool host."""
    host = await desk.dispatching.book.get_host(access.who.owner, host_id)
    return reply(host_view(host, desk.ports.clock.now_ms()))


@router.put(
    "/v1/tool_hosts/{host_id}",
    operation_id="put_tool_host",
    responses={200: {"model": HostOut}, 409: {}},
)
async def put_host(desk: Desk, access: Invoker, host_id: HostKey, body: HostBody) -> Response:
    """Register a tool host, or replace what it offers. Agents may name its tools from now on.

    The key that registered it is the only one that may speak for it (or an `admin` key registers it
    anew).
    """
    tools = host_tools(body.tools)
    host = await register(desk, access, host_id, tools, body.lease_seconds)
    return reply(host_view(host, desk.ports.clock.now_ms()))


@router.delete(
    "/v1/tool_hosts/{host_id}",
    operation_id="delete_tool_host",
    status_code=204,
    responses={404: {}},
)
async def delete_host(desk: Desk, access: Invoker, host_id: HostKey) -> Response:
    """Forget a tool host. What it holds is treated as if it had died."""
    book = desk.dispatching.book
    if Scope.ADMIN not in access.who.scopes:
        await book.beat(claim_of(access, host_id), ())
    await book.drop_host(access.who.owner, host_id)
    return Response(status_code=204)


@router.post(
    "/v1/tool_hosts/{host_id}/heartbeat",
    operation_id="beat_tool_host",
    responses={200: {"model": BeatOut}, 404: {}},
)
async def beat(
    desk: Desk, access: Invoker, host_id: HostKey, body: BeatBody | None = None
) -> Response:
    """Say that a host is there, and which calls it still works on; their leases are renewed.

    `lost` are those that it no longer holds: drop them.
    """
    held = body.tool_calls if body else []
    said = await desk.dispatching.book.beat(claim_of(access, host_id), held)
    return reply(beat_view(said, desk.ports.clock.now_ms()))


@router.post(
    "/v1/tool_hosts/{host_id}/poll",
    operation_id="poll_tool_host",
    responses={200: {"model": DispatchList}, 404: {}},
)
async def poll_host(
    desk: Desk,
    access: Invoker,
    request: Request,
    host_id: HostKey,
    body: PollBody | None = None,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Take requests, each with the token that its result needs; wait for the first of them.

    Keep each lease with heartbeats. With an `Idempotency-Key` a repeat after a lost answer gets the
    same requests again, with new tokens.
    """
    who = claim_of(access, host_id, idempotency_key)
    asked = body or PollBody()
    seconds = min(asked.wait_seconds, desk.config.max_wait_seconds)
    taken = await poll(desk, who, asked.max, seconds, request.is_disconnected)
    return reply({"requests": [dispatch_view(one) for one in taken]})


@router.get(
    "/v1/tool_hosts/{host_id}/requests",
    operation_id="list_tool_requests",
    responses={
        200: one_of(RequestList, REQUEST_STREAM, "Those that wait, or a stream of them."),
        404: {},
    },
)
async def list_requests(
    desk: Desk, access: Invoker, request: Request, host_id: HostKey
) -> Response:
    """List what the host could take, oldest first; at most 100. Claim one to get its token.

    With `Accept: text/event-stream`: each as it comes; the host counts as there meanwhile.
    """
    who = claim_of(access, host_id)
    book = desk.dispatching.book
    waiting = await book.waiting(who)
    if wants_stream(request):
        desk.keeper.admit(access)
        frames = announced(book, who, desk.config.stream.requests_seconds)
        return EventStream(desk.keeper, frames, access)
    return reply({"requests": [request_view(one) for one in waiting]})
