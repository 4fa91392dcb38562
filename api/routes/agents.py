"""Agents: make, look at, change, remove. Those that others run register elsewhere."""

from fastapi import APIRouter
from starlette.responses import Response

from api.agents import agent_views, as_given, changes_of, check_agent, check_owner, refuse_shared
from api.bodies import JsonRoute
from api.openapi import created
from api.params import AgentKey, Cursor, Limit
from api.replies import listed, reply
from api.requests import AgentBody, AgentChanges
from api.services import Admin, Desk, Reader, Services
from api.shapes.catalog import AgentList, AgentOut
from domain.acceptance import Page
from domain.agent import Agent, Degradation, Limits
from domain.errors import ConflictError

router = APIRouter(tags=["agents"], route_class=JsonRoute)


@router.post(
    "/v1/agents",
    operation_id="create_agent",
    status_code=201,
    responses={201: created(AgentOut), 409: {}},
)
async def create_agent(desk: Desk, access: Admin, body: AgentBody) -> Response:
    """Register an agent of kind `llm` (ours) or `http` (a service with the agent protocol).

    Yours takes the place of a shared one with its id, for you alone. The operator, whose the shared
    ones are, gets 409 instead.
    """
    fields = body.model_dump()
    fields["limits"] = Limits.model_validate(fields["limits"])
    fields["degradation"] = Degradation.model_validate(fields["degradation"])
    fields["tool_policy"] = as_given(body.tool_policy)
    now = desk.ports.clock.now_ms()
    agent = Agent(owner=access.who.owner, created_at=now, updated_at=now, **fields)
    await refuse_shared(desk, access, agent.agent_id)
    await check_agent(desk, agent)
    made = await desk.directory.put_agent(agent, replace=False)
    desk.background.spawn(_rule_again(desk))
    return await _made(desk, made)


@router.get("/v1/agents", operation_id="list_agents", responses={200: {"model": AgentList}})
async def list_agents(
    desk: Desk, access: Reader, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List your agents and the shared ones, by id."""
    agents, following = await desk.directory.list_agents(access.who.owner, Page(limit, cursor))
    return listed("agents", await agent_views(desk, agents), following)


@router.get(
    "/v1/agents/{agent_id}",
    operation_id="get_agent",
    responses={200: {"model": AgentOut}, 404: {}},
)
async def get_agent(desk: Desk, access: Reader, agent_id: AgentKey) -> Response:
    """Return one agent."""
    agent = await desk.directory.get_agent(access.who.owner, agent_id)
    (view,) = await agent_views(desk, [agent])
    return reply(view)


@router.patch(
    "/v1/agents/{agent_id}",
    operation_id="update_agent",
    responses={200: {"model": AgentOut}, 404: {}},
)
async def update_agent(
    desk: Desk, access: Admin, agent_id: AgentKey, body: AgentChanges
) -> Response:
    """Change an agent. Runs in flight keep the agent they began with, but for its `tool_policy`.

    A changed policy rules again on the calls that wait for an approval, and on those that wait for
    a client which has not taken them yet.
    """
    agent = await desk.directory.get_agent(access.who.owner, agent_id)
    check_owner(access, agent)
    now = desk.ports.clock.now_ms()
    changed = agent.model_copy(update={**changes_of(body), "updated_at": now})
    await check_agent(desk, changed)
    stored = await desk.directory.put_agent(changed, replace=True)
    desk.background.spawn(_rule_again(desk))
    (view,) = await agent_views(desk, [stored])
    return reply(view)


@router.delete(
    "/v1/agents/{agent_id}",
    operation_id="delete_agent",
    status_code=204,
    responses={404: {}, 409: {}},
)
async def delete_agent(desk: Desk, access: Admin, agent_id: AgentKey) -> Response:
    """Remove an agent, and its token with it. Runs in flight go on.

    One from `agents.toml` is removed there.
    """
    agent = await desk.directory.get_agent(access.who.owner, agent_id)
    check_owner(access, agent)
    if agent.owner is None and desk.config.agents_file is not None:
        raise ConflictError(
            f"agent {agent_id} stands in {desk.config.agents_file} and would be back at the next"
            " start: take it out there, then start again"
        )
    await desk.directory.delete_agent(agent.owner, agent_id)
    desk.authenticator.forget()
    desk.background.spawn(_rule_again(desk))  # a shared agent may be in its place now
    return Response(status_code=204)


async def _rule_again(desk: Services) -> None:
    """Have calls that wait ruled on by the policy of now; what fails here the reconciler does."""
    await desk.deciding.revisit()
    await desk.dispatching.sweep()


async def _made(desk: Services, agent: Agent) -> Response:
    (view,) = await agent_views(desk, [agent])
    return reply(view, 201, {"location": f"/v1/agents/{agent.agent_id}"})
