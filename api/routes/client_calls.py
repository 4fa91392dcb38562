"""Tool calls that clients run: taken, answered, waited for."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.access import Access
from api.bodies import JsonRoute
from api.client_bodies import (
    ClaimBody,
    ErrorBody,
    SeedRegisterToolsBody,
    SeedSubmitBody,
    SeedToolBody,
    SubmitBody,
    WaitBody,
)
from api.client_tools import dispatch_view, host_tools
from api.params import IdempotencyHeader, ToolCallId
from api.replies import reply
from api.requests import ClientToolBody
from api.routes.tool_hosts import claim_of, register
from api.schemas import object_schema
from api.services import Desk, Invoker, Reader, Services
from api.shapes.clients import DispatchOut, SeedRegisteredOut, SeedSubmittedOut
from api.shapes.work import ToolCallOut
from api.tail import Tail
from api.views import data_of, tool_call_view
from api.waiting import follow
from domain.clients import MAX_RESULT_BYTES, Submission, Submitted
from domain.errors import InvalidRequestError, RequestTooLargeError
from domain.event import EventType, encode_json
from domain.tool import ToolCall, ToolOutcome

router = APIRouter(tags=["tool hosts"], route_class=JsonRoute)

WaitMs = Annotated[int, Query(ge=0, le=60_000, description="Milliseconds to wait.")]
_SEED_LEASE_SECONDS = 90.0
"""Seed B's clients beat every 30 s and are unhealthy after 90."""
_ENDS = frozenset({EventType.TOOL_RESULT})


@router.post(
    "/v1/tool_calls/{tool_call_id}/claim",
    operation_id="claim_tool_call",
    responses={200: {"model": DispatchOut}, 404: {}, 409: {}, 410: {}},
)
async def claim_call(
    desk: Desk,
    access: Invoker,
    tool_call_id: ToolCallId,
    body: ClaimBody | None = None,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Take a tool call that a client is asked to run; the answer has the token its result needs.

    A client that is no tool host holds it until the deadline. With an `Idempotency-Key` a repeat
    after a lost answer gets it again, with a new token.
    """
    who = claim_of(access, body.host_id if body else None, idempotency_key)
    return reply(dispatch_view(await desk.dispatching.book.claim(who, tool_call_id)))


@router.post(
    "/v1/tool_calls/{tool_call_id}/submit",
    operation_id="submit_tool_call",
    responses={200: {"model": ToolCallOut}, 404: {}, 409: {}, 410: {}},
)
async def submit_call(
    desk: Desk, access: Invoker, tool_call_id: ToolCallId, body: SubmitBody
) -> Response:
    """Send the result of a tool call; its run goes on.

    It counts once, with the token of the last hand-over; the same result again is answered as the
    first time.
    """
    done = await _submit(desk, access, tool_call_id, body)
    headers = {"idempotency-replayed": "true"} if done.replayed else None
    return reply(tool_call_view(done.call), 200, headers)


@router.post(
    "/v1/tool_calls/{tool_call_id}/wait",
    operation_id="wait_tool_call",
    responses={200: {"model": ToolCallOut}, 404: {}},
)
async def wait_call(
    desk: Desk,
    access: Reader,
    tool_call_id: ToolCallId,
    body: WaitBody | None = None,
    timeout_ms: WaitMs | None = None,
) -> Response:
    """Return a tool call once it has ended, or as it is when the time is over.

    `timeout_ms` (30000) stands in the query or in the body.
    """
    if body is not None and timeout_ms is not None:
        raise InvalidRequestError("send timeout_ms in the query or in the body, not in both")
    asked = (body or WaitBody()).timeout_ms if timeout_ms is None else timeout_ms
    owner, now = access.who.owner, asyncio.get_running_loop().time
    until = now() + min(asked / 1000, desk.config.max_wait_seconds)
    while True:
        call = await desk.runs.get_tool_call(owner, tool_call_id)
        run = await desk.runs.get_run(owner, call.run_id)
        call = await desk.runs.get_tool_call(owner, tool_call_id)
        left = until - now()
        is_over = call.ended_at is not None or run.is_terminal
        if is_over or left <= 0 or desk.keeper.stopping.is_set():
            return reply(tool_call_view(call))
        await follow(desk, Tail(desk.events, run.run_id, run.last_seq), left, _ENDS)


@router.post(
    "/internal/tools/register",
    operation_id="seed_register_tools",
    responses={200: {"model": SeedRegisteredOut}, 409: {}},
)
async def seed_register(desk: Desk, access: Invoker, body: SeedRegisterToolsBody) -> Response:
    """Register a client's tools: unsafe ones, that fail while it is away. Source: seed B."""
    tools = host_tools([_seed_tool(tool) for tool in body.tools])
    host = await register(desk, access, body.client_id, tools, _SEED_LEASE_SECONDS)
    return reply({"ok": True, "registered_count": len(host.tools)})


@router.post(
    "/internal/tool_calls/{tool_call_id}/submit",
    operation_id="seed_submit_tool_call",
    responses={200: {"model": SeedSubmittedOut}, 404: {}, 409: {}, 410: {}},
)
async def seed_submit(
    desk: Desk, access: Invoker, tool_call_id: ToolCallId, body: SeedSubmitBody
) -> Response:
    """Send the result of a tool call in seed B's form; the token is needed here too."""
    error = None if body.status == "SUCCEEDED" else _seed_error(body.error)
    native = SubmitBody(token=body.token, result=body.result, error=error)
    return reply(_seed_view((await _submit(desk, access, tool_call_id, native)).call))


async def _submit(desk: Services, access: Access, tool_call_id: str, body: SubmitBody) -> Submitted:
    said = Submission(body.token, _outcome(body), access.who.signature, body.result)
    return await desk.dispatching.submit(access.who.owner, tool_call_id, said)


def _outcome(body: SubmitBody) -> ToolOutcome:
    if body.error is not None:
        if body.result is not None:
            raise InvalidRequestError("send a result or an error, not both")
        return ToolOutcome(ok=False, content=body.error.message, error_code=body.error.code)
    if "result" not in body.model_fields_set:
        raise InvalidRequestError("send a result (null is one) or an error")
    content = body.result if isinstance(body.result, str) else encode_json(body.result)
    if len(content.encode("utf-8", "replace")) > MAX_RESULT_BYTES:
        raise RequestTooLargeError(f"a result has at most {MAX_RESULT_BYTES} bytes of JSON")
    return ToolOutcome(ok=True, content=content)


def _seed_tool(tool: SeedToolBody) -> ClientToolBody:
    words = tool.schema_.get("description")
    return ClientToolBody(
        name=tool.name,
        description=words[:10_000] if isinstance(words, str) and words else tool.name,
        parameters=object_schema(tool.schema_),
        timeout_seconds=tool.timeout_ms / 1000,
    )


def _seed_error(error: Any) -> ErrorBody:  # noqa: ANN401 - any JSON, as seed B sends it
    """Return what a client says went wrong, whatever form it has."""
    said = error.get("message") if isinstance(error, dict) else error
    text = said if isinstance(said, str) else encode_json(said) if said is not None else ""
    return ErrorBody(message=text[:10_000] or "the client says that it failed")


def _seed_view(call: ToolCall) -> dict[str, Any]:
    return {
        "tool_call_id": call.tool_call_id,
        "status": call.status.value.upper(),
        "result": data_of(call.result),
        "error": call.error,
        "completed_at": call.ended_at,
    }
