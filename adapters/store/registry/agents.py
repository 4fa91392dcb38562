"""Agents as rows: what identifies one in columns, the rest as it was registered."""

import json
from collections.abc import Sequence
from typing import Any

from adapters.store.approvals.remembering import forget
from adapters.store.database.pages import cut, decode_cursor
from adapters.store.database.tx import Row, Tx
from adapters.store.registry.keys import revoke_tokens
from domain.acceptance import Page
from domain.agent import Agent
from domain.errors import ConflictError, NotFoundError
from domain.event import encode_json
from domain.policy import print_of
from domain.principal import SHARED_OWNER

SHARED = SHARED_OWNER
"""The owner column of an agent that every owner sees."""

_IN_COLUMNS = {"owner", "agent_id", "created_at", "updated_at"}
_INSERT = (
    "INSERT INTO agents (owner, agent_id, body, created_at, updated_at)"
    " VALUES (:owner, :agent_id, :body, :created_at, :updated_at)"
    " ON CONFLICT (owner, agent_id) DO "
)
_REPLACE = "UPDATE SET body = excluded.body, updated_at = excluded.updated_at RETURNING *"


def put_agent(tx: Tx, agent: Agent, *, replace: bool) -> Agent:
    """Store an agent and return it; a replaced one keeps the time it was made.

    Raises:
        ConflictError: the id is taken and `replace` is False.
    """
    owner = SHARED if agent.owner is None else agent.owner
    known = _body(tx, owner, agent.agent_id)
    body = agent.model_dump(mode="json", exclude=_IN_COLUMNS)
    row = tx.one(
        _INSERT + (_REPLACE if replace else "NOTHING RETURNING *"),
        owner=owner,
        agent_id=agent.agent_id,
        body=encode_json(body),
        created_at=agent.created_at,
        updated_at=agent.updated_at,
    )
    if row is None:
        raise ConflictError(f"there is an agent {agent.agent_id}; change it, or take another id")
    if known is None or print_of(known.get("tool_policy", {})) != print_of(agent.tool_policy):
        forget(tx, owner, agent.agent_id)
    if known is not None and known.get("endpoint") != agent.endpoint:
        _forget_health(tx, owner, agent.agent_id)
    return _agent_from(row)


def _body(tx: Tx, owner: str, agent_id: str) -> dict[str, Any] | None:
    """Return an agent as it was registered, None when there is no such agent."""
    row = tx.one(
        f"SELECT body FROM agents WHERE owner = :owner AND agent_id = :agent_id{tx.lock}",
        owner=owner,
        agent_id=agent_id,
    )
    found: dict[str, Any] | None = json.loads(row["body"]) if row else None
    return found


def _forget_health(tx: Tx, owner: str, agent_id: str) -> None:
    """Drop what was seen of an agent: it is gone, or lives elsewhere now."""
    tx.run(
        "DELETE FROM agent_health WHERE owner = :owner AND agent_id = :agent_id",
        owner=owner,
        agent_id=agent_id,
    )


def get_agent(tx: Tx, owner: str | None, agent_id: str) -> Agent:
    """Return the owner's agent, else the shared one; for owner None the shared one, else any.

    Raises:
        NotFoundError: neither exists.
    """
    order, only, params = " ORDER BY owner", "", {"agent_id": agent_id}
    if owner is not None:
        only, order = " AND owner IN (:owner, '')", " ORDER BY owner DESC"
        params["owner"] = owner
    row = tx.one(f"SELECT * FROM agents WHERE agent_id = :agent_id{only}{order} LIMIT 1", **params)
    if row is None:
        raise NotFoundError(f"there is no agent {agent_id}")
    return _agent_from(row)


def list_agents(tx: Tx, owner: str | None, page: Page) -> tuple[Sequence[Agent], str | None]:
    """Return the owner's agents, and the shared ones that none of them replaces, by id.

    Raises:
        InvalidRequestError: the cursor is malformed.
    """
    after_id, after_owner = decode_cursor(page.cursor, str, str) or ("", "")
    only, params = "", dict[str, object]()
    if owner is not None:
        only = (
            " AND (owner = :owner OR (owner = '' AND NOT EXISTS (SELECT 1 FROM agents AS mine"
            " WHERE mine.owner = :owner AND mine.agent_id = agents.agent_id)))"
        )
        params["owner"] = owner
    rows = tx.all(
        "SELECT * FROM agents WHERE (agent_id, owner) > (:after_id, :after_owner)"
        f"{only} ORDER BY agent_id, owner LIMIT :most",
        **params,
        after_id=after_id,
        after_owner=after_owner,
        most=page.limit + 1,
    )
    shown, cursor = cut(rows, page, "agent_id", "owner")
    return [_agent_from(row) for row in shown], cursor


def delete_agent(tx: Tx, owner: str | None, agent_id: str, now: int) -> None:
    """Remove the owner's agent; for owner None the one that `get_agent` shows. Its token ends.

    Raises:
        NotFoundError: no such agent that this owner may remove.
    """
    if owner is None:
        owner = get_agent(tx, None, agent_id).owner or SHARED
    elif owner == SHARED:
        raise NotFoundError(f"there is no agent {agent_id}")
    gone = tx.run(
        "DELETE FROM agents WHERE owner = :owner AND agent_id = :agent_id",
        owner=owner,
        agent_id=agent_id,
    )
    if not gone:
        raise NotFoundError(f"there is no agent {agent_id} of yours")
    forget(tx, owner, agent_id)
    _forget_health(tx, owner, agent_id)
    revoke_tokens(tx, owner, agent_id, now)


def _agent_from(row: Row) -> Agent:
    return Agent.model_validate(
        {
            **json.loads(row["body"]),
            "owner": None if row["owner"] == SHARED else row["owner"],
            "agent_id": row["agent_id"],
            "created_at": row["created_at"],
            "updated_at": row["updated_at"],
        }
    )
