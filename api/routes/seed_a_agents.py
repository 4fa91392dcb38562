"""Seed A's paths about agents: how they are, what they remember, and talking to one."""

from hashlib import sha256
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access import Access
from api.agents import health_of
from api.bodies import JsonRoute
from api.errors import RefusedError, refuse
from api.params import AgentKey, IdempotencyHeader
from api.replies import reply
from api.routes.seed_a import agents_of, costs_by
from api.seed_a_views import memory_view, metrics_view, seed_agent_view, status_of
from api.seed_bodies import SeedChatBody
from api.services import Desk, Invoker, Reader, Services
from api.shapes.seed_a import (
    SeedAgentList,
    SeedAgentOut,
    SeedChatOut,
    SeedClearedOut,
    SeedMemoryOut,
    SeedMetricsOut,
)
from api.starting import claim, money_problem, replay_headers, wait_for_answer
from api.views import View, iso
from domain.acceptance import Page
from domain.costs import CostBy, CostLine
from domain.errors import InvalidRequestError, NotFoundError
from domain.event import EventType, as_json
from domain.intake import StartRun
from domain.run import Run, RunState
from domain.session import Session
from domain.stats import AgentFigures

router = APIRouter(tags=["seed A"], route_class=JsonRoute)
Conversation = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$")]
_MOST_MESSAGES = 1000
_MONEY = frozenset({"budget_exhausted", "max_cost_usd"})


@router.get(
    "/api/agents", operation_id="seed_list_agents", responses={200: {"model": SeedAgentList}}
)
async def list_agents(desk: Desk, access: Reader) -> Response:
    """List your agents and the shared ones with what they did for you."""
    figures = await desk.ports.figures.agents(access.who.owner)
    costs = {line.key: line for line in (await costs_by(desk, access, CostBy.AGENT)).lines}
    views = []
    for agent in await agents_of(desk, access):
        health = await health_of(desk, agent)
        did, cost = figures.get(agent.agent_id), costs.get(agent.agent_id)
        views.append(seed_agent_view(agent, did, cost, health))
    return reply(views)


@router.get(
    "/api/agents/{agent_id}",
    operation_id="seed_get_agent",
    responses={200: {"model": SeedAgentOut}, 404: {}},
)
async def get_agent(desk: Desk, access: Reader, agent_id: AgentKey) -> Response:
    """Return one agent with what it did for you."""
    agent = await desk.directory.get_agent(access.who.owner, agent_id)
    health = await health_of(desk, agent)
    did, cost = await _figures(desk, access, agent_id)
    return reply(seed_agent_view(agent, did, cost, health))


@router.get(
    "/api/agents/{agent_id}/metrics",
    operation_id="seed_get_metrics",
    responses={200: {"model": SeedMetricsOut}, 404: {}},
)
async def get_metrics(desk: Desk, access: Reader, agent_id: AgentKey) -> Response:
    """Return what an agent did for you, and what that cost."""
    agent = await desk.directory.get_agent(access.who.owner, agent_id)
    did, cost = await _figures(desk, access, agent_id)
    return reply(
        {
            "agent_id": agent_id,
            "metrics": metrics_view(did, cost),
            "status": status_of(agent, did, await health_of(desk, agent)),
            "uptime": (desk.ports.clock.now_ms() - agent.created_at) / 1000,
        }
    )


@router.get(
    "/api/agents/{agent_id}/memory",
    operation_id="seed_get_memory",
    responses={200: {"model": SeedMemoryOut}, 404: {}},
)
async def get_memory(
    desk: Desk, access: Reader, agent_id: AgentKey, conversation_id: Conversation = None
) -> Response:
    """Return what was said to and by an agent at `/api/chat`: the last 1,000 messages."""
    owner = access.who.owner
    await desk.directory.get_agent(owner, agent_id)
    session = await _session(desk, access, session_of(agent_id, conversation_id))
    if session is None:
        return reply(memory_view(agent_id, None, ()))
    page = Page(limit=_MOST_MESSAGES)
    messages, _ = await desk.directory.list_messages(
        owner, session.session_id, page, newest_first=True
    )
    return reply(memory_view(agent_id, session, messages[::-1]))


@router.delete(
    "/api/agents/{agent_id}/memory",
    operation_id="seed_clear_memory",
    responses={200: {"model": SeedClearedOut}, 404: {}, 409: {}},
)
async def clear_memory(
    desk: Desk, access: Invoker, agent_id: AgentKey, conversation_id: Conversation = None
) -> Response:
    """Forget what was said to and by an agent at `/api/chat`; 409 while it answers."""
    await desk.directory.get_agent(access.who.owner, agent_id)
    session = await _session(desk, access, session_of(agent_id, conversation_id))
    if session is not None:
        await desk.directory.clear_messages(access.who.owner, session.session_id)
    return reply({"message": "memory cleared", "agent_id": agent_id})


@router.post(
    "/api/chat",
    operation_id="seed_chat",
    responses={200: {"model": SeedChatOut}, 402: {}, 404: {}, 409: {}, 502: {}, 504: {}},
)
async def chat(
    desk: Desk,
    access: Invoker,
    request: Request,
    body: SeedChatBody,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Say something to an agent and wait for its answer.

    A durable run stands behind it, in a session per agent and conversation: what was said before is
    what the agent remembers. Without `agent_id` the first agent answers. After 504, or 402 while it
    waits for a budget, the run goes on.
    """
    agent_id = body.agent_id or await _first(desk, access)
    session_id = session_of(agent_id, body.conversation_id)
    # Not by the session: without `agent_id` another agent may be the first when it is repeated.
    key = claim("seed_chat", access, body.conversation_id, idempotency_key, body)
    ask = StartRun(content=body.message, agent_id=agent_id, session_id=session_id, idempotency=key)
    accepted = await desk.intake.start_run(access.who, ask)
    request.scope["run_id"] = accepted.run.run_id
    run = await wait_for_answer(desk, accepted.run, desk.config.max_wait_seconds)
    waiting = money_problem(run)
    if waiting is not None:
        raise RefusedError(waiting)
    if not run.is_terminal:
        said = f"run {run.run_id} goes on; its answer will be at GET /v1/runs/{run.run_id}"
        raise refuse(504, "still_running", said)
    if run.state is not RunState.DONE:
        why = run.error
        said = f"run {run.run_id} ended {run.state}: {why.message if why else 'it was cancelled'}"
        code = why.code if why else "cancelled"
        raise refuse(402 if code in _MONEY else 502, code, said)
    return reply(await _answer(desk, run), 200, replay_headers(accepted.replayed))


def session_of(agent_id: str, conversation_id: str | None) -> str:
    """Return the session of a conversation: seed A's memory key, `agent[:conversation]`."""
    name = f"chat:{agent_id}:{conversation_id}" if conversation_id else f"chat:{agent_id}"
    # An id has at most 128 characters; two long names could be more.
    return name if len(name) <= 128 else f"chat:{sha256(name.encode()).hexdigest()}"


async def _answer(desk: Services, run: Run) -> View:
    done = await desk.events.read(run.run_id, 0, 1000, [EventType.LLM_CALL_DONE])
    model = as_json(done[-1].envelope)["data"].get("model", "") if done else ""
    began, ended = run.started_at or run.created_at, run.ended_at or run.created_at
    return {
        "agent_id": run.agent_id,
        "response": (run.output or {}).get("content", ""),
        "model": model,
        "elapsed_ms": ended - began,
        "tokens_input": run.usage.input_tokens,
        "tokens_output": run.usage.output_tokens,
        "timestamp": iso(ended),
    }


async def _first(desk: Services, access: Access) -> str:
    active = [agent for agent in await agents_of(desk, access) if agent.status == "active"]
    if not active:
        raise InvalidRequestError("there is no agent; make one with POST /v1/agents")
    usual = desk.config.intake.default_agent_id
    if usual in {agent.agent_id for agent in active}:
        return str(usual)
    return min(active, key=lambda agent: (agent.created_at, agent.agent_id)).agent_id


async def _session(desk: Services, access: Access, session_id: str) -> Session | None:
    try:
        return await desk.directory.get_session(access.who.owner, session_id)
    except NotFoundError:
        return None


async def _figures(desk: Services, access: Access, agent_id: str) -> tuple[AgentFigures, CostLine]:
    figures = await desk.ports.figures.agents(access.who.owner, agent_id)
    report = await costs_by(desk, access, CostBy.AGENT, agent_id)
    return figures.get(agent_id, AgentFigures()), report.total
