"""Agents: register, look at, change, remove."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.access import Access
from api.bodies import JsonRoute
from api.openapi import created
from api.params import AgentKey, Cursor, Limit
from api.replies import listed, reply
from api.requests import AgentBody, AgentChanges, RegisterBody
from api.services import Admin, Desk, Reader, Services
from api.shapes.catalog import AgentList, AgentOut
from api.views import agent_view
from domain.acceptance import Page
from domain.agent import Agent, AgentKind, Limits
from domain.auth import sees_every_owner
from domain.errors import AddressRefusedError, ConflictError, ForbiddenError, NotFoundError
from domain.policy import ToolPolicy

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
    fields["tool_policy"] = _as_given(body.tool_policy)
    now = desk.ports.clock.now_ms()
    agent = Agent(owner=access.who.owner, created_at=now, updated_at=now, **fields)
    await _refuse_shared(desk, access, agent.agent_id)
    await _check(desk, agent)
    made = await desk.directory.put_agent(agent, replace=False)
    desk.background.spawn(_rule_again(desk))
    return _made(made, 201)


@router.post(
    "/v1/agents/register",
    operation_id="register_agent",
    status_code=201,
    responses={
        201: created(AgentOut),
        200: {"model": AgentOut, "description": "It was there; name and endpoint are new."},
        409: {},
    },
)
async def register_agent(desk: Desk, access: Admin, body: RegisterBody) -> Response:
    """Register an external agent, or change its name and endpoint. Source: seed B."""
    known = await _own(desk, access, body.agent_id)
    if known is not None and known.kind is not AgentKind.HTTP:
        raise ConflictError(f"agent {body.agent_id} is of kind {known.kind}; take another id")
    if known is None:
        await _refuse_shared(desk, access, body.agent_id)
    now = desk.ports.clock.now_ms()
    agent = known or Agent(
        agent_id=body.agent_id,
        owner=access.who.owner,
        kind=AgentKind.HTTP,
        name=body.name,
        created_at=now,
        updated_at=now,
    )
    changes = {"name": body.name, "endpoint": body.endpoint, "updated_at": now}
    agent = agent.model_copy(update=changes)
    await _check(desk, agent)
    stored = await desk.directory.put_agent(agent, replace=True)
    return _made(stored, 200 if known else 201)


@router.get("/v1/agents", operation_id="list_agents", responses={200: {"model": AgentList}})
async def list_agents(
    desk: Desk, access: Reader, limit: Limit = 100, cursor: Cursor = None
) -> Response:
    """List your agents and the shared ones, by id."""
    agents, following = await desk.directory.list_agents(access.who.owner, Page(limit, cursor))
    return listed("agents", [agent_view(agent) for agent in agents], following)


@router.get(
    "/v1/agents/{agent_id}",
    operation_id="get_agent",
    responses={200: {"model": AgentOut}, 404: {}},
)
async def get_agent(desk: Desk, access: Reader, agent_id: AgentKey) -> Response:
    """Return one agent."""
    return reply(agent_view(await desk.directory.get_agent(access.who.owner, agent_id)))


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
    _check_owner(access, agent)
    changes: dict[str, Any] = body.model_dump(exclude_unset=True)
    for name in ("models", "tools", "capabilities"):
        if name in changes:
            changes[name] = tuple(changes[name])
    if "limits" in changes:
        changes["limits"] = Limits.model_validate(changes["limits"])
    if body.tool_policy is not None:
        changes["tool_policy"] = _as_given(body.tool_policy)
    changed = agent.model_copy(update={**changes, "updated_at": desk.ports.clock.now_ms()})
    await _check(desk, changed)
    stored = await desk.directory.put_agent(changed, replace=True)
    desk.background.spawn(_rule_again(desk))
    return reply(agent_view(stored))


@router.delete(
    "/v1/agents/{agent_id}",
    operation_id="delete_agent",
    status_code=204,
    responses={404: {}, 409: {}},
)
async def delete_agent(desk: Desk, access: Admin, agent_id: AgentKey) -> Response:
    """Remove an agent. Runs in flight go on. One from `agents.toml` is removed there."""
    agent = await desk.directory.get_agent(access.who.owner, agent_id)
    _check_owner(access, agent)
    if agent.owner is None and desk.config.agents_file is not None:
        raise ConflictError(
            f"agent {agent_id} stands in {desk.config.agents_file} and would be back at the next"
            " start: take it out there, then start again"
        )
    await desk.directory.delete_agent(agent.owner, agent_id)
    desk.background.spawn(_rule_again(desk))  # a shared agent may be in its place now
    return Response(status_code=204)


async def _own(desk: Services, access: Access, agent_id: str) -> Agent | None:
    try:
        agent = await desk.directory.get_agent(access.who.owner, agent_id)
    except NotFoundError:
        return None
    return agent if agent.owner == access.who.owner else None


async def _refuse_shared(desk: Services, access: Access, agent_id: str) -> None:
    """Keep the operator from hiding a shared agent behind one of its own without noticing."""
    if not sees_every_owner(access.who):
        return
    try:
        known = await desk.directory.get_agent(access.who.owner, agent_id)
    except NotFoundError:
        return
    if known.owner is None:
        raise ConflictError(
            f"agent {agent_id} is shared, it stands in {desk.config.agents_file or 'agents.toml'}:"
            " change it there, or take another id"
        )


async def _check(desk: Services, agent: Agent) -> None:
    """Refuse what no run could be made of, and what may not be contacted."""
    await desk.intake.check_agent(agent)
    if agent.endpoint is None:
        return
    try:
        desk.ports.addresses.check_url(agent.endpoint)
    except AddressRefusedError as error:
        error.field = "endpoint"
        raise


def _as_given(policy: ToolPolicy) -> dict[str, Any]:
    """Return a policy as it was sent: what was left out stays out."""
    return policy.model_dump(mode="json", exclude_unset=True)


async def _rule_again(desk: Services) -> None:
    """Have calls that wait ruled on by the policy of now; what fails here the reconciler does."""
    await desk.deciding.revisit()
    await desk.dispatching.sweep()


def _check_owner(access: Access, agent: Agent) -> None:
    if agent.owner is None and not sees_every_owner(access.who):
        raise ForbiddenError(f"agent {agent.agent_id} is shared; only the operator changes it")


def _made(agent: Agent, status: int) -> Response:
    return reply(agent_view(agent), status, {"location": f"/v1/agents/{agent.agent_id}"})
