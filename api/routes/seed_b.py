"""Seed B's ways in that are not native paths."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.bodies import JsonRoute
from api.params import IdempotencyHeader, ToolName
from api.replies import reply
from api.requests import InvokeToolBody, SeedInvokeBody
from api.routes import tools
from api.services import AgentOrInvoker, Desk, Invoker
from api.shapes.seeds import SeedInvokedOut
from api.shapes.work import InvokedOut
from api.starting import claim, one_key, replay_headers
from domain.intake import StartRun

router = APIRouter(tags=["seed B"], route_class=JsonRoute)


@router.post(
    "/internal/invoke",
    operation_id="invoke_agent",
    status_code=202,
    responses={202: {"model": SeedInvokedOut}, 404: {}, 409: {}},
)
async def invoke_agent(
    desk: Desk,
    access: Invoker,
    request: Request,
    body: SeedInvokeBody,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Start a run in a session. `request_id`, or the header, makes a repeat return the same run."""
    given = one_key(idempotency_key, body.request_id)
    key = claim("internal_invoke", access, body.session_id, given, body)
    ask = StartRun(
        content=body.input_message.content,
        agent_id=body.agent_id,
        session_id=body.session_id,
        context=body.context,
        idempotency=key,
    )
    accepted = await desk.intake.start_run(access.who, ask)
    run = accepted.run
    request.scope["run_id"] = run.run_id
    ids = {"run_id": run.run_id, "session_id": run.session_id, "agent_id": run.agent_id}
    return reply(ids, 202, replay_headers(accepted.replayed))


@router.post(
    "/v1/tools/{name}:invoke",
    operation_id="seed_invoke_tool",
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
    """Call a tool, as `/v1/tools/{name}/invoke` does: the spelling of seed B's design."""
    return await tools.invoke_tool(desk, access, request, name, body, idempotency_key)
