"""The agents that an owner's choice is made among. Knows the directory only."""

from collections.abc import Iterable

from domain.acceptance import Page
from domain.agent import Agent
from domain.errors import NotFoundError
from domain.records import Directory

MOST_AGENTS = 10_000
"""Agents that take part in a choice, by id; those that are named beforehand always do."""
_AT_ONCE = 1000


async def active_agents(
    directory: Directory, owner: str, named: Iterable[str | None]
) -> dict[str, Agent]:
    """Return the active agents that an owner sees, by id.

    `named` are ids that count however many there are; one that is not there is left out.
    """
    found = await _listed(directory, owner)
    for agent_id in named:
        if agent_id is not None and agent_id not in found:
            found |= await _one(directory, owner, agent_id)
    return {agent_id: agent for agent_id, agent in found.items() if agent.status == "active"}


async def _listed(directory: Directory, owner: str) -> dict[str, Agent]:
    found: dict[str, Agent] = {}
    cursor: str | None = None
    while len(found) < MOST_AGENTS:
        page = Page(cursor=cursor, limit=min(_AT_ONCE, MOST_AGENTS - len(found)))
        agents, cursor = await directory.list_agents(owner, page)
        found |= {agent.agent_id: agent for agent in agents}
        if cursor is None:
            break
    return found


async def _one(directory: Directory, owner: str, agent_id: str) -> dict[str, Agent]:
    try:
        return {agent_id: await directory.get_agent(owner, agent_id)}
    except NotFoundError:
        return {}
