"""Agents as answers, and what a token of one may do. Shared by the routes about agents."""

import secrets
from collections.abc import Sequence
from typing import Any

from api.access import Access
from api.agent_bodies import RegisterBody
from api.requests import AgentChanges
from api.services import Services
from api.views import View, agent_view
from domain.agent import Agent, AgentKind, Degradation, Limits
from domain.agenthealth import AgentHealth
from domain.auth import KEY_BYTES, MintedKey, mint_key, sees_every_owner
from domain.errors import (
    AddressRefusedError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
)
from domain.policy import ToolPolicy
from domain.principal import SHARED_OWNER, ApiKey, Principal
from domain.run import Run, RunState


async def health_of(desk: Services, agent: Agent) -> AgentHealth | None:
    """Return how an agent is; None for one that runs here."""
    if agent.kind is not AgentKind.HTTP:
        return None
    key = (agent.owner, agent.agent_id)
    return (await desk.ports.agent_health.health([key])).get(key)


async def agent_views(desk: Services, agents: Sequence[Agent]) -> list[View]:
    """Return agents with how they are."""
    external = [agent for agent in agents if agent.kind is AgentKind.HTTP]
    keys = [(agent.owner, agent.agent_id) for agent in external]
    health = await desk.ports.agent_health.health(keys)
    return [agent_view(agent, health.get((agent.owner, agent.agent_id))) for agent in agents]


def changes_of(body: AgentChanges | RegisterBody) -> dict[str, Any]:
    """Return the fields of an agent that a body names, as the domain has them."""
    changes: dict[str, Any] = body.model_dump(exclude_unset=True)
    for name in ("models", "tools", "capabilities"):
        if name in changes:
            changes[name] = tuple(changes[name])
    if "limits" in changes:
        changes["limits"] = Limits.model_validate(changes["limits"])
    if "degradation" in changes:
        changes["degradation"] = Degradation.model_validate(changes["degradation"])
    if body.tool_policy is not None:
        changes["tool_policy"] = as_given(body.tool_policy)
    return changes


def as_given(policy: ToolPolicy) -> dict[str, Any]:
    """Return a policy as it was sent: what was left out stays out."""
    return policy.model_dump(mode="json", exclude_unset=True)


async def check_agent(desk: Services, agent: Agent) -> None:
    """Refuse what no run could be made of, and what may not be contacted."""
    await desk.intake.check_agent(agent)
    if agent.endpoint is None:
        return
    try:
        desk.ports.addresses.check_url(agent.endpoint)
    except AddressRefusedError as error:
        error.field = "endpoint"
        raise


async def refuse_shared(desk: Services, access: Access, agent_id: str) -> None:
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


def check_owner(access: Access, agent: Agent) -> None:
    """Refuse to change a shared agent to all but the operator."""
    if agent.owner is None and not sees_every_owner(access.who):
        raise ForbiddenError(f"agent {agent.agent_id} is shared; only the operator changes it")


async def issue_token(desk: Services, agent: Agent) -> tuple[ApiKey, MintedKey]:
    """Make the token of an external agent; the one it had before is of no use any more.

    Raises:
        ConflictError: the agent runs here.
    """
    if agent.kind is not AgentKind.HTTP:
        raise ConflictError(f"agent {agent.agent_id} runs here and needs no token")
    minted = mint_key(secrets.token_bytes(KEY_BYTES))
    key = ApiKey(
        key_id=desk.ports.intake.ids.new("key"),
        owner=SHARED_OWNER if agent.owner is None else agent.owner,
        name=f"agent {agent.agent_id}",
        prefix=minted.prefix,
        scopes=(),
        created_at=desk.ports.clock.now_ms(),
        expires_at=None,
        revoked_at=None,
        agent_id=agent.agent_id,
    )
    revoked = await desk.ports.keys.issue_token(key, minted.digest)
    desk.authenticator.forget()
    for key_id in revoked:
        desk.keeper.revoke(key_id)
    return key, minted


async def run_at_work(desk: Services, who: Principal, run_id: str | None) -> Run:
    """Return the run that an agent names as the one it works on.

    Whether it is somebody else's, over, or never was, is not told.

    Raises:
        ForbiddenError: it does not work on that.
    """
    if run_id is None:
        raise ForbiddenError(f"agent {who.agent_id} has to name the run that it works on")
    owner = None if who.owner == SHARED_OWNER else who.owner
    try:
        run = await desk.runs.get_run(owner, run_id)
        agent = await desk.directory.get_agent(run.owner, run.agent_id or "")
    except NotFoundError:
        raise _not_at_work(who, run_id) from None
    is_its = run.agent_id == who.agent_id and (agent.owner or SHARED_OWNER) == who.owner
    if not is_its or run.state is not RunState.RUNNING or agent.kind is not AgentKind.HTTP:
        raise _not_at_work(who, run_id)
    return run


async def on_behalf(
    desk: Services, access: Access, run_id: str | None
) -> tuple[Access, Run | None]:
    """Return as whom a request acts: an agent's token acts for the owner of the run it works on.

    Anybody else acts for itself, about any run of its own.

    Raises:
        ForbiddenError: an agent names no run that it works on.
    """
    if access.who.agent_id is None:
        return access, None
    run = await run_at_work(desk, access.who, run_id)
    who = access.who.model_copy(update={"owner": run.owner})
    return Access(who, access.digest), run


async def tool_caller(desk: Services, access: Access, run_id: str | None, tool: str) -> Access:
    """Return as whom a tool is called.

    Raises:
        ForbiddenError: an agent names no run that it works on, or a tool that it does not have.
    """
    acting, run = await on_behalf(desk, access, run_id)
    if run is not None:
        agent = await desk.directory.get_agent(run.owner, run.agent_id or "")
        if tool not in agent.tools:
            raise ForbiddenError(f"agent {agent.agent_id} has no tool {tool}")
    return acting


def _not_at_work(who: Principal, run_id: str) -> ForbiddenError:
    return ForbiddenError(f"agent {who.agent_id} does not work on run {run_id}")
