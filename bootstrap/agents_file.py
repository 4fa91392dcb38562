"""Agents from a file: `agents.toml` in the data folder, written with examples when it is missing.

The file is the truth about the agents that came from it. Source: seed A, start-up.
"""

import logging
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from api.requests import AgentFields, Name
from domain.acceptance import Page
from domain.agent import RESERVED_IDS, Agent, AgentKind, Degradation, Limits
from domain.errors import AddressRefusedError, InvalidRequestError, SetupError
from domain.ports import Clock
from domain.records import Directory

_log = logging.getLogger(__name__)

FILE_NAME = "agents.toml"
SOURCE = {"source": "file"}
"""In the metadata of every agent that came from the file."""
_DEFAULTS = Path(__file__).with_name("default_agents.toml")
_AGENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_PAGE = 1000


class _Entry(AgentFields):
    """One `[agents.ID]` table."""

    name: Name | None = None
    kind: Literal["llm", "http"] = "llm"
    status: Literal["active", "inactive"] = "active"


async def load_agents_file(
    data_dir: Path,
    directory: Directory,
    clock: Clock,
    check: Callable[[Agent], None] = lambda _agent: None,
    *,
    is_only: bool = True,
) -> None:
    """Make the directory's shared agents what the file says; again changes nothing.

    Args:
        data_dir: the folder of the file.
        directory: where agents are kept.
        clock: gives new agents their time.
        check: raises `InvalidRequestError` for an agent that no run could be made of.
        is_only: whether no other process has such a file for the same directory; agents that are
            not in ours are then removed, if they came from it.

    Raises:
        SetupError: the file cannot be read or understood, or an agent of it is of no use; names the
            line.
    """
    path = data_dir / FILE_NAME
    create_agents_file(path)
    wanted = {agent.agent_id: agent for agent in read_agents_file(path, clock.now_ms(), check)}
    known = await _shared_agents(directory)
    for agent_id, agent in wanted.items():
        if not _is_same(agent, known.get(agent_id)):
            await directory.put_agent(agent, replace=True)
            _log.info("agent %s comes from %s", agent_id, path)
    for agent_id, agent in known.items():
        if is_only and agent_id not in wanted and agent.metadata.get("source") == SOURCE["source"]:
            await directory.delete_agent(None, agent_id)
            _log.info("agent %s is no longer in %s and was removed", agent_id, path)


def create_agents_file(path: Path) -> None:
    """Write the file with its comments and default agents, unless there is one."""
    if path.exists():
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Whole or not at all: another process may read it at this moment.
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(_DEFAULTS.read_bytes())
    scratch.replace(path)


def read_agents_file(
    path: Path, now_ms: int, check: Callable[[Agent], None] = lambda _agent: None
) -> list[Agent]:
    """Return the agents of a file, made at `now_ms`.

    Raises:
        SetupError: it cannot be read or understood; names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SetupError(f"{path} is not TOML: {error}") from error
    agents = table.pop("agents", {})
    for key in table:
        raise _fault(path, text, (key,), f"unknown key {key!r}; agents stand under [agents.ID]")
    if not isinstance(agents, dict):
        raise _fault(path, text, ("agents",), "agents is a table of tables: [agents.ID]")
    read = [_agent(path, text, str(key), entry, now_ms) for key, entry in agents.items()]
    for agent in read:
        try:
            check(agent)
        except (InvalidRequestError, AddressRefusedError) as error:
            raise _fault(path, text, (agent.agent_id,), error.message) from error
    return read


def _agent(path: Path, text: str, agent_id: str, entry: object, now_ms: int) -> Agent:
    if not _AGENT_ID.fullmatch(agent_id):
        raise _fault(path, text, (agent_id,), f"{agent_id!r} is no agent id: see the file's head")
    if agent_id in RESERVED_IDS:
        raise _fault(path, text, (agent_id,), f"the id {agent_id} is reserved; take another one")
    try:
        fields = _Entry.model_validate(entry)
    except ValidationError as error:
        raise _invalid(path, text, agent_id, error) from error
    kind = AgentKind(fields.kind)
    if (kind is AgentKind.HTTP) != bool(fields.endpoint):
        message = 'kind = "http" and an endpoint belong together'
        raise _fault(path, text, (agent_id, "endpoint"), message)
    return Agent(
        agent_id=agent_id,
        owner=None,
        kind=kind,
        name=fields.name or agent_id,
        description=fields.description,
        instructions=fields.instructions.strip(),
        models=tuple(fields.models),
        tools=tuple(fields.tools),
        endpoint=fields.endpoint,
        capabilities=tuple(fields.capabilities),
        limits=Limits.model_validate(fields.limits.model_dump()),
        degradation=Degradation.model_validate(fields.degradation.model_dump()),
        escalate=fields.escalate,
        tool_policy=fields.tool_policy.model_dump(mode="json", exclude_unset=True),
        status=fields.status,
        metadata={**fields.metadata, **SOURCE},
        created_at=now_ms,
        updated_at=now_ms,
    )


def _invalid(path: Path, text: str, agent_id: str, error: ValidationError) -> SetupError:
    first = error.errors(include_url=False)[0]
    where = tuple(str(part) for part in first["loc"])
    known = ", ".join(sorted(_Entry.model_fields))
    said = f"unknown key; there are {known}" if first["type"] == "extra_forbidden" else first["msg"]
    return _fault(path, text, (agent_id, *where), f"{'.'.join((agent_id, *where))}: {said}")


def _fault(path: Path, text: str, keys: tuple[str, ...], message: str) -> SetupError:
    line = _line_of(text, keys)
    return SetupError(f"{path}{f', line {line}' if line else ''}: {message}")


def _line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """Return the line where the table `keys[0]`, and in it the key `keys[1]`, is written."""
    head, *rest = keys
    quoted = rf"[\"']?{re.escape(head)}[\"']?"
    table = re.compile(
        rf"\s*(\[\s*(agents\s*\.\s*)?{quoted}\s*[\].]|(agents\s*\.\s*)?{quoted}\s*[.=])"
    )
    key = re.compile(rf"\s*[\"']?{re.escape(rest[0])}[\"']?\s*[.=]") if rest else None
    found = None
    for number, line in enumerate(text.splitlines(), start=1):
        if found is None:
            found = number if table.match(line) else None
        elif key is not None and key.match(line):
            return number
        elif line.lstrip().startswith("["):
            break
    return found


def _is_same(agent: Agent, known: Agent | None) -> bool:
    times = {"created_at", "updated_at"}
    return known is not None and agent.model_dump(exclude=times) == known.model_dump(exclude=times)


async def _shared_agents(directory: Directory) -> dict[str, Agent]:
    found: dict[str, Agent] = {}
    cursor: str | None = None
    while True:
        agents, cursor = await directory.list_agents(None, Page(_PAGE, cursor))
        found.update((agent.agent_id, agent) for agent in agents if agent.owner is None)
        if cursor is None:
            return found
