"""`tools ...`: see the tools, and call one by hand as a durable run."""

import json
from typing import Annotated, Any

import typer

from bootstrap.commands.failure import CommandError
from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, examples
from bootstrap.commands.output import out_json, out_list
from bootstrap.commands.servers import connect
from bootstrap.commands.wire import at
from bootstrap.terminal import harmless, out

tools = typer.Typer(help="See the tools, and call one by hand.", no_args_is_help=True)

_COLUMNS = ("name", "effect", "timeout_seconds", "source", "description")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(tools, name="tools")


@tools.command("list", epilog=examples("orchestrator tools list --json | jq '.[].parameters'"))
def list_tools(api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List tools by name."""
    with connect(api_url, api_key) as api:
        found = api.call("GET", "/v1/tools")["tools"]
    out_list(found, _COLUMNS, as_json=as_json, empty="there are no tools")


@tools.command(
    "call",
    epilog=examples(
        """orchestrator tools call calculator '{"operation": "multiply", "a": 6, "b": 7}'"""
    ),
)
def call_tool(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    args: Annotated[str, typer.Argument(metavar="JSON", help="Its arguments.")] = "{}",
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Call a tool as a run of its own: retried, kept, and never twice if that is unsafe."""
    try:
        given = json.loads(args)
    except ValueError as error:
        raise CommandError(f"the arguments are not JSON: {error}", code=2) from error
    with connect(api_url, api_key) as api:
        said = api.call("POST", at("/v1/tools/{}/invoke", name), body={"args": given})
    if as_json:
        out_json(said)
    else:
        out(_text(said))
    return 0 if said["status"] == "succeeded" else 1


def _text(said: dict[str, Any]) -> str:
    if said["status"] != "succeeded":
        why = said.get("error") or said.get("reason") or ""
        return harmless(f"{said['status']}: {why if isinstance(why, str) else json.dumps(why)}")
    result = said.get("result")
    text = result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False)
    return harmless(text)
