"""External agents: register, hand out a token, hear that they are there, show what they can do."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.access import Access
from api.agent_bodies import AgentBeatBody, AskAgentBody, RegisterBody
from api.agents import (
    agent_views,
    changes_of,
    check_agent,
    check_owner,
    health_of,
    issue_token,
    on_behalf,
    refuse_shared,
)
from api.asked import asked_frames
from api.bodies import JsonRoute
from api.openapi import AGENT_STREAM, created
from api.params import AgentKey, IdempotencyHeader
from api.replies import reply
from api.routes.runs import headers_of
from api.services import Admin, AgentOrAdmin, AgentOrInvoker, Desk, Reader, Services
from api.shapes.catalog import AgentBeatOut, CardOut, RegisteredOut, TokenOut
from api.sse import EventStream
from api.starting import accept_and_tail, claim
from api.views import card_view, health_view, iso
from domain.agent import Agent, AgentKind
from domain.agenthealth import report_of
from domain.errors import ConflictError, ForbiddenError, NotFoundError
from domain.intake import AskAgent
from domain.principal import SHARED_OWNER
from domain.tool import ToolSpec

router = APIRouter(tags=["agents"], route_class=JsonRoute)


@router.post(
    "/v1/agents/register",
    operation_id="register_agent",
    status_code=201,
    responses={
        201: created(RegisteredOut),
        200: {"model": RegisteredOut, "description": "It was there; what was sent is new."},
        409: {},
    },
)
async def register_agent(desk: Desk, access: Admin, body: RegisterBody) -> Response:
    """Register an external agent, or change the one that is registered. Source: seed B.

    The answer holds its token, once: what it shows us when it sends heartbeats, uses tools or asks
    another agent. Registering again makes a new token, and the one before is of no use any more.
    """
    known = await _own(desk, access, body.agent_id)
    if known is not None and known.kind is not AgentKind.HTTP:
        raise ConflictError(f"agent {body.agent_id} is of kind {known.kind}; take another id")
    if known is None:
        await refuse_shared(desk, access, body.agent_id)
    now = desk.ports.clock.now_ms()
    agent = known or Agent(
        agent_id=body.agent_id,
        owner=access.who.owner,
        kind=AgentKind.HTTP,
        name=body.name,
        created_at=now,
        updated_at=now,
    )
    agent = agent.model_copy(update={**changes_of(body), "updated_at": now})
    await check_agent(desk, agent)
    stored = await desk.directory.put_agent(agent, replace=True)
    _, minted = await issue_token(desk, stored)
    (view,) = await agent_views(desk, [stored])
    location = {"location": f"/v1/agents/{agent.agent_id}"}
    return reply({**view, "token": minted.secret}, 200 if known else 201, location)


@router.post(
    "/v1/agents/{agent_id}/token",
    operation_id="issue_agent_token",
    status_code=201,
    responses={
        201: {"model": TokenOut, "description": "Made; `token` is shown here only."},
        404: {},
        409: {},
    },
)
async def issue_agent_token(desk: Desk, access: Admin, agent_id: AgentKey) -> Response:
    """Make a new token for an external agent; the one before is of no use any more."""
    agent = await desk.directory.get_agent(access.who.owner, agent_id)
    check_owner(access, agent)
    key, minted = await issue_token(desk, agent)
    view = {
        "agent_id": agent_id,
        "token": minted.secret,
        "prefix": key.prefix,
        "created_at": iso(key.created_at),
    }
    return reply(view, 201)


@router.post(
    "/v1/agents/{agent_id}/heartbeat",
    operation_id="beat_agent",
    responses={200: {"model": AgentBeatOut}, 404: {}},
)
async def beat_agent(
    desk: Desk, access: AgentOrAdmin, agent_id: AgentKey, body: AgentBeatBody | None = None
) -> Response:
    """Say that an external agent is there. Its own token may say it, or a key with `admin`.

    One that says `unhealthy`, `draining` or the like is chosen no more until it says otherwise.
    """
    said = body or AgentBeatBody()
    report = report_of(said.status, said.version, said.capabilities)
    owner = await _owner_of(desk, access, agent_id)
    health = await desk.ports.agent_health.beat(owner, agent_id, report)
    seconds = desk.config.heartbeat_seconds
    view = {"agent_id": agent_id, "health": health_view(health), "next_in_seconds": seconds}
    return reply(view)


@router.get(
    "/v1/agents/{agent_id}/card",
    operation_id="get_agent_card",
    responses={200: {"model": CardOut}, 404: {}},
)
async def get_agent_card(desk: Desk, access: Reader, agent_id: AgentKey) -> Response:
    """Return what an agent can do, without its instructions or where it lives."""
    agent = await desk.directory.get_agent(access.who.owner, agent_id)
    tools = await _tools_of(desk, access, agent)
    return reply(card_view(agent, tools, await health_of(desk, agent)))


@router.post(
    "/v1/agents/{agent_id}:invoke",
    operation_id="ask_agent",
    response_class=Response,
    responses={
        200: {
            "description": "The child run, as the agent protocol has it; `Location` is the run.",
            "content": AGENT_STREAM,
        },
        404: {},
        409: {},
    },
)
async def ask_agent(
    desk: Desk,
    access: AgentOrInvoker,
    request: Request,
    agent_id: AgentKey,
    body: AskAgentBody,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Have another agent do something inside a run. Source: seed B, agent to agent.

    It is a durable child of `parent_run_id`, with what that run has left of depth, number, tokens,
    money and time, and ends with it when that is cancelled or fails. An external agent's token may
    name a run that it works on. The answer is `delta`, `state`, `done` and `error`; a repeat with
    the same `Idempotency-Key` reads the same child from its beginning.
    """
    acting, _ = await on_behalf(desk, access, body.parent_run_id)
    desk.keeper.admit(access)
    ask = AskAgent(
        agent_id=agent_id,
        parent_run_id=body.parent_run_id,
        content=body.input_message.content,
        context=body.context,
        idempotency=claim(f"ask_agent {agent_id}", access, None, idempotency_key, body),
    )
    accepted, tail = await accept_and_tail(
        desk, lambda before: desk.intake.ask_agent(acting.who, ask, before)
    )
    request.scope["run_id"] = accepted.run.run_id
    frames = asked_frames(tail)
    return EventStream(desk.keeper, frames, access, headers_of(accepted.run, accepted.replayed))


async def _own(desk: Services, access: Access, agent_id: str) -> Agent | None:
    try:
        agent = await desk.directory.get_agent(access.who.owner, agent_id)
    except NotFoundError:
        return None
    return agent if agent.owner == access.who.owner else None


async def _owner_of(desk: Services, access: Access, agent_id: str) -> str | None:
    """Return whose agent it is for which the caller may speak."""
    who = access.who
    if who.agent_id is None:
        agent = await desk.directory.get_agent(who.owner, agent_id)
        check_owner(access, agent)
        return agent.owner
    if who.agent_id != agent_id:
        raise ForbiddenError(f"this is the token of agent {who.agent_id}, not of {agent_id}")
    return None if who.owner == SHARED_OWNER else who.owner


async def _tools_of(desk: Services, access: Access, agent: Agent) -> list[ToolSpec]:
    """Return the tools that an agent may use, as far as they are here now."""
    if not agent.tools:
        return []
    hosted = await desk.dispatching.book.tools(access.who.owner)
    known = {**hosted, **{spec.name: spec for spec in desk.ports.intake.toolbox.specs()}}
    return [known[name] for name in agent.tools if name in known]
