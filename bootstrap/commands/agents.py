"""`agents ...`: see agents, register and remove them."""

import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bootstrap.commands.failure import CommandError
from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, Limit, examples
from bootstrap.commands.output import out_json, out_list, out_object
from bootstrap.commands.servers import connect
from bootstrap.commands.wire import at
from bootstrap.terminal import note, out

agents = typer.Typer(
    help="See agents, register and remove them. Those of agents.toml are edited there.",
    no_args_is_help=True,
)

AgentId = Annotated[str, typer.Argument(metavar="AGENT_ID")]
_COLUMNS = ("agent_id", "kind", "status", "health", "models", "tools", "description")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(agents, name="agents")


@agents.command("list", epilog=examples("orchestrator agents list --json"))
def list_agents(
    limit: Limit = 100, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """List agents by id."""
    with connect(api_url, api_key) as api:
        found = api.pages("/v1/agents", "agents", limit)
    shown = found if as_json else [{**agent, "health": _health_of(agent)} for agent in found]
    out_list(shown, _COLUMNS, as_json=as_json, empty="there are no agents")


def _health_of(agent: Mapping[str, Any]) -> str | None:
    """Return how an external agent is, in a word or two."""
    health = agent["health"]
    if health is None or health["circuit"] == "closed":
        return health and str(health["status"])
    return f"{health['status']}, circuit {health['circuit'].replace('_', '-')}"


@agents.command("show", epilog=examples("orchestrator agents show assistant"))
def show_agent(
    agent_id: AgentId, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one agent."""
    with connect(api_url, api_key) as api:
        out_object(api.call("GET", at("/v1/agents/{}", agent_id)), as_json=as_json)


@agents.command(
    "register",
    epilog=examples(
        "orchestrator agents register tutor.toml",
        'echo \'{"agent_id": "echo", "name": "Echo", "models": ["offline/echo"]}\''
        " | orchestrator agents register -",
    ),
)
def register_agent(
    definition: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON or TOML; - reads JSON from stdin.")
    ],
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Register an agent: agent_id, name, and description, instructions, models, tools, ..."""
    body = _read(definition)
    with connect(api_url, api_key) as api:
        agent = api.call("POST", "/v1/agents", body=body)
    if as_json:
        out_json(agent)
    else:
        out(f"agent {agent['agent_id']} is registered")


@agents.command("delete", epilog=examples("orchestrator agents delete tutor"))
def delete_agent(
    agent_id: AgentId, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Remove an agent; runs in flight keep what they began with."""
    with connect(api_url, api_key) as api:
        api.call("DELETE", at("/v1/agents/{}", agent_id))
    if as_json:
        out_json({"agent_id": agent_id, "deleted": True})
    else:
        out(f"agent {agent_id} is gone")


@agents.command("card", epilog=examples("orchestrator agents card assistant"))
def show_card(
    agent_id: AgentId, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show what an agent can do, and how it is."""
    with connect(api_url, api_key) as api:
        out_object(api.call("GET", at("/v1/agents/{}/card", agent_id)), as_json=as_json)


@agents.command("token", epilog=examples("orchestrator agents token demo_agent"))
def issue_token(
    agent_id: AgentId, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Make a new token for an external agent; the one before is of no use any more."""
    with connect(api_url, api_key) as api:
        made = api.call("POST", at("/v1/agents/{}/token", agent_id))
    if as_json:
        out_json(made)
    else:
        note(f"the token of agent {agent_id}, shown only now:")
        out(made["token"])


def _read(definition: str) -> dict[str, Any]:
    try:
        text = sys.stdin.read() if definition == "-" else Path(definition).read_text("utf-8")
        value = tomllib.loads(text) if definition.endswith(".toml") else json.loads(text)
    except (OSError, ValueError) as error:
        raise CommandError(f"{definition} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise CommandError(f"{definition} holds no object")
    return value
