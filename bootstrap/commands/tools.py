"""`tools ...`: see the tools, and call one by hand as a durable run."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bootstrap.commands.failure import CommandError
from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, Limit, examples
from bootstrap.commands.output import out_json, out_list, out_object
from bootstrap.commands.servers import connect
from bootstrap.commands.wire import at
from bootstrap.terminal import harmless, out

if TYPE_CHECKING:
    from bootstrap.commands.api import Api

tools = typer.Typer(help="See the tools, and call one by hand.", no_args_is_help=True)

CallId = Annotated[str, typer.Argument(metavar="TOOL_CALL_ID", help="tc_...")]
_CALL_COLUMNS = ("tool_call_id", "status", "tool_name", "run_id", "created_at", "args")
_CLIENTS = frozenset({"dispatched", "running"})
_ENDED_BADLY = frozenset({"failed", "timeout", "rejected"})
_WAIT_MS = 20_000
_COLUMNS = ("name", "effect", "timeout_seconds", "source", "description")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(tools, name="tools")


@tools.command("list", epilog=examples("orchestrator tools list --json | jq '.[].parameters'"))
def list_tools(api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List tools by name."""
    with connect(api_url, api_key) as api:
        found = api.call("GET", "/v1/tools", params={"limit": 1000})["tools"]
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
        said = _waited(api, said)
    if as_json:
        out_json(said)
    else:
        out(_text(said))
    return 0 if said["status"] == "succeeded" else 1


@tools.command("calls", epilog=examples("orchestrator tools calls --status outcome_unknown"))
def list_calls(
    *,
    status: Annotated[
        str | None,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="Only such calls: outcome_unknown are those that somebody has to resolve.",
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN_ID", help="Of this run only.")
    ] = None,
    limit: Limit = 20,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List tool calls, newest first."""
    with connect(api_url, api_key) as api:
        found = api.pages("/v1/tool_calls", "tool_calls", limit, status=status, run_id=run)
    out_list(found, _CALL_COLUMNS, as_json=as_json, empty="there are no such tool calls")


@tools.command("show-call", epilog=examples("orchestrator tools show-call tc_01k9"))
def show_call(
    tool_call_id: CallId, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one tool call: what it was asked to do, and what is known of it."""
    with connect(api_url, api_key) as api:
        out_object(api.call("GET", at("/v1/tool_calls/{}", tool_call_id)), as_json=as_json)


@tools.command(
    "resolve",
    epilog=examples(
        'orchestrator tools resolve tc_01k9 happened --result "ticket 4711"',
        "orchestrator tools resolve tc_01k9 not_happened",
    ),
)
def resolve(
    tool_call_id: CallId,
    outcome: Annotated[
        str, typer.Argument(metavar="OUTCOME", help="happened, not_happened or give_up.")
    ],
    *,
    result: Annotated[
        str | None,
        typer.Option("--result", metavar="TEXT", help="What the tool said; with `happened`."),
    ] = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Say what is known of a call whose outcome is unknown; its run goes on."""
    body = {"outcome": outcome} | ({} if result is None else {"result": result})
    with connect(api_url, api_key) as api:
        said = api.call("POST", at("/v1/tool_calls/{}/resolve", tool_call_id), body=body)
    if as_json:
        out_json(said)
    else:
        out(harmless(f"{tool_call_id} is {said['status']}: {said['resolution']}"))


def _waited(api: "Api", said: dict[str, Any]) -> dict[str, Any]:
    """Wait for a call that a client runs; any other has come as far as it does by itself."""
    ids = {name: said[name] for name in ("tool_call_id", "run_id")}
    path = at("/v1/tool_calls/{}/wait", said["tool_call_id"])
    while said["status"] == "pending":
        call = api.call("POST", path, params={"timeout_ms": _WAIT_MS})
        if call["status"] == "succeeded":
            return {"status": "succeeded", **ids, "result": call["result"]}
        if call["status"] in _ENDED_BADLY:
            return {"status": "failed", **ids, "error": call["error"]}
        if call["status"] not in _CLIENTS:
            return said
    return said


def _text(said: dict[str, Any]) -> str:
    if said["status"] != "succeeded":
        why = said.get("error") or said.get("reason") or ""
        return harmless(f"{said['status']}: {why if isinstance(why, str) else json.dumps(why)}")
    result = said.get("result")
    text = result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False)
    return harmless(text)
