"""Tools and tool calls."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access import Access
from api.agents import tool_caller
from api.bodies import JsonRoute
from api.params import Cursor, IdempotencyHeader, Limit, ToolCallId, ToolCallQuery, ToolName
from api.replies import listed, reply
from api.requests import InvokeToolBody, ResolveBody
from api.services import AgentOrInvoker, Approver, Desk, Reader, Services
from api.shapes.catalog import ToolList, ToolOut
from api.shapes.work import InvokedOut, ToolCallList, ToolCallOut
from api.starting import claim, one_key, replay_headers
from api.tool_calls import invoke, outcome_view
from api.views import tool_call_view, tool_view
from domain.acceptance import Page
from domain.errors import InvalidRequestError, NotFoundError
from domain.event import encode_json
from domain.intake import InvokeTool
from domain.tool import Resolution, ToolSpec, Verdict

router = APIRouter(tags=["tools"], route_class=JsonRoute)


@router.get("/v1/tools", operation_id="list_tools", responses={200: {"model": ToolList}})
async def list_tools(
    desk: Desk, access: Reader, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List the tools: those that run here, then those of your tool hosts."""
    specs = await _specs(desk, access)
    first = _place_after(cursor, [spec.name for spec in specs])
    shown = specs[first : first + limit]
    following = shown[-1].name if first + limit < len(specs) else None
    return listed("tools", [tool_view(spec) for spec in shown], following)


@router.get(
    "/v1/tools/{name}", operation_id="get_tool", responses={200: {"model": ToolOut}, 404: {}}
)
async def get_tool(desk: Desk, access: Reader, name: ToolName) -> Response:
    """Return one tool."""
    for spec in await _specs(desk, access):
        if spec.name == name:
            return reply(tool_view(spec))
    raise NotFoundError(f"there is no tool {name}")


@router.post(
    "/v1/tools/{name}/invoke",
    operation_id="invoke_tool",
    responses={200: {"model": InvokedOut}, 404: {}, 409: {}},
)
async def invoke_tool(
    desk: Desk,
    access: AgentOrInvoker,
    request: Request,
    name: ToolName,
    body: InvokeToolBody,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Call a tool and wait for the outcome. The call is a durable run of kind `tool`.

    An external agent's token may call the tools that its agent has, inside a run it works on; the
    agent's policy rules on the call.
    """
    key = one_key(idempotency_key, body.idempotency_key)
    access = await tool_caller(desk, access, body.run_id, name)
    run, call, replayed = await invoke(
        desk,
        access,
        InvokeTool(
            name=name,
            args=body.args,
            parent_run_id=body.run_id,
            timeout_seconds=body.timeout_ms / 1000 if body.timeout_ms else None,
            idempotency=claim(f"invoke_tool {name}", access, body.run_id, key, body),
        ),
    )
    request.scope["run_id"] = run.run_id
    return reply(outcome_view(run, call), 200, replay_headers(replayed))


@router.get(
    "/v1/tool_calls",
    operation_id="list_tool_calls",
    responses={200: {"model": ToolCallList}},
)
async def list_tool_calls(desk: Desk, access: Reader, query: ToolCallQuery) -> Response:
    """List tool calls, newest first; `?status=outcome_unknown` are those that wait for a person."""
    calls, following = await desk.runs.list_tool_calls(
        access.who.owner, query.run_id, query.status, Page(query.limit, query.cursor)
    )
    return listed("tool_calls", [tool_call_view(call) for call in calls], following)


@router.get(
    "/v1/tool_calls/{tool_call_id}",
    operation_id="get_tool_call",
    responses={200: {"model": ToolCallOut}, 404: {}},
)
async def get_tool_call(desk: Desk, access: Reader, tool_call_id: ToolCallId) -> Response:
    """Return one tool call."""
    return reply(tool_call_view(await desk.runs.get_tool_call(access.who.owner, tool_call_id)))


@router.post(
    "/v1/tool_calls/{tool_call_id}/resolve",
    operation_id="resolve_tool_call",
    responses={200: {"model": ToolCallOut}, 404: {}, 409: {}},
)
async def resolve_tool_call(
    desk: Desk, access: Approver, tool_call_id: ToolCallId, body: ResolveBody
) -> Response:
    """Say what is known of a call whose outcome is unknown; its run goes on.

    `happened` with the `result`, `not_happened` (it is run again) or `give_up` (the model reads an
    error). Who said it is on record by the credential.
    """
    resolution = Resolution(body.outcome)
    if body.result is not None and resolution is not Resolution.HAPPENED:
        raise InvalidRequestError("a result goes with the outcome `happened` only")
    said = body.result if isinstance(body.result, str) else _text(body.result)
    verdict = Verdict(resolution=resolution, by=access.who.signature, result=said)
    await desk.intake.resolve(access.who, tool_call_id, verdict)
    return reply(tool_call_view(await desk.runs.get_tool_call(access.who.owner, tool_call_id)))


async def _specs(desk: Services, access: Access) -> list[ToolSpec]:
    ours = {spec.name: spec for spec in desk.ports.intake.toolbox.specs()}
    hosted = await desk.dispatching.book.tools(access.who.owner)
    return [*ours.values(), *(hosted[name] for name in sorted(hosted.keys() - ours.keys()))]


def _place_after(cursor: str | None, names: list[str]) -> int:
    if cursor is None:
        return 0
    if cursor not in names:
        raise InvalidRequestError("the cursor is not one of this list; leave it out to start again")
    return names.index(cursor) + 1


def _text(result: object) -> str:
    return "" if result is None else encode_json(result)
