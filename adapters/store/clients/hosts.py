"""Tool hosts as rows: what they registered, by which credential, and whether they are there."""

import json

from adapters.store.database.pages import newest_first
from adapters.store.database.tx import Row, Tx
from domain.acceptance import Page
from domain.clients import Claim, ToolHost
from domain.errors import ConflictError, ForbiddenError, NotFoundError
from domain.event import encode_json
from domain.tool import ToolSpec

MOST_HOSTS = 1000
"""Of one owner."""
_PUT = (
    "INSERT INTO tool_hosts (owner, host_id, keeper, tools, lease_ms, alive_until, created_at,"
    " updated_at) VALUES (:owner, :host_id, :keeper, :tools, :lease_ms, :alive_until, :created_at,"
    " :updated_at) ON CONFLICT (owner, host_id) DO UPDATE SET keeper = excluded.keeper,"
    " tools = excluded.tools, lease_ms = excluded.lease_ms, alive_until = excluded.alive_until,"
    " updated_at = excluded.updated_at"
)


def put(tx: Tx, host: ToolHost, may_replace: bool) -> ToolHost:
    """Register a host.

    Raises:
        ForbiddenError: another credential keeps it, or one of its tools elsewhere.
        ConflictError: the owner has too many hosts.
    """
    others = _of_owner(tx, host.owner)
    if not may_replace:
        _check_keeper(host, others)
    if len([one for one in others if one["host_id"] != host.host_id]) >= MOST_HOSTS:
        raise ConflictError(f"there are {MOST_HOSTS} tool hosts; delete some")
    tools = [tool.model_dump(mode="json") for tool in host.tools]
    plain = host.model_dump(exclude={"tools"})
    tx.run(_PUT, **plain, tools=encode_json(tools))
    return read(tx, host.owner, host.host_id)


def _check_keeper(host: ToolHost, others: list[Row]) -> None:
    mine = {tool.name for tool in host.tools}
    for other in others:
        if other["keeper"] == host.keeper:
            continue
        if other["host_id"] == host.host_id:
            raise ForbiddenError(f"another key registered tool host {host.host_id}")
        taken = mine & {tool["name"] for tool in json.loads(other["tools"])}
        if taken:
            raise ForbiddenError(
                f"tool host {other['host_id']} of another key runs {min(taken)}; use another name,"
                " or a key with the scope admin"
            )


def _of_owner(tx: Tx, owner: str) -> list[Row]:
    sql = "SELECT * FROM tool_hosts WHERE owner = :owner ORDER BY updated_at, host_id"
    return list(tx.all(sql, owner=owner))


def read(tx: Tx, owner: str, host_id: str) -> ToolHost:
    """Return one host.

    Raises:
        NotFoundError: no such host for this owner.
    """
    row = tx.one(
        "SELECT * FROM tool_hosts WHERE owner = :owner AND host_id = :id", owner=owner, id=host_id
    )
    if row is None:
        raise NotFoundError(f"there is no tool host {host_id}; register it first")
    return host_from(row)


def speaks_for(tx: Tx, who: Claim) -> ToolHost:
    """Return the host that a caller speaks for.

    Raises:
        NotFoundError: no such host for this owner.
        ForbiddenError: another credential registered it.
    """
    host = read(tx, who.owner, who.host_id or "")
    if host.keeper != who.caller:
        raise ForbiddenError(f"another key registered tool host {host.host_id}")
    return host


def listed(tx: Tx, owner: str, page: Page) -> tuple[list[ToolHost], str | None]:
    """Return hosts, newest first, and the cursor of the next page or None."""
    rows, cursor = newest_first(tx, "tool_hosts", {"owner": owner}, page, "host_id")
    return [host_from(row) for row in rows], cursor


def drop(tx: Tx, owner: str, host_id: str, now: int) -> None:
    """Forget a host, and end its leases.

    Raises:
        NotFoundError: no such host for this owner.
    """
    read(tx, owner, host_id)
    key = {"owner": owner, "id": host_id}
    tx.run("DELETE FROM tool_hosts WHERE owner = :owner AND host_id = :id", **key)
    tx.run(
        "UPDATE tool_requests SET lease_until = :now WHERE owner = :owner AND holder_host = :id"
        " AND status = 'taken'",
        **key,
        now=now,
    )


def tools_of(tx: Tx, owner: str) -> dict[str, ToolSpec]:
    """Return the tools of an owner's hosts by name, as registered last."""
    rows = _of_owner(tx, owner)
    return {tool.name: tool for row in rows for tool in host_from(row).tools}


def is_served(tx: Tx, owner: str, tool: str, host_id: str | None, now: int) -> bool:
    """Whether a host that runs a tool, or the one named, is there."""
    return any(
        row["alive_until"] > now
        and (
            row["host_id"] == host_id
            if host_id is not None
            else any(one["name"] == tool for one in json.loads(row["tools"]))
        )
        for row in _of_owner(tx, owner)
    )


def keep_alive(tx: Tx, host: ToolHost, now: int) -> ToolHost:
    """Note that a host was heard of."""
    until = now + host.lease_ms
    tx.run(
        "UPDATE tool_hosts SET alive_until = :until WHERE owner = :owner AND host_id = :id",
        until=until,
        owner=host.owner,
        id=host.host_id,
    )
    return host.model_copy(update={"alive_until": until})


def host_from(row: Row) -> ToolHost:
    """Return a row of `tool_hosts` as a value."""
    plain = {name: row[name] for name in ToolHost.model_fields if name != "tools"}
    tools = tuple(ToolSpec.model_validate(tool) for tool in json.loads(row["tools"]))
    return ToolHost(tools=tools, **plain)
