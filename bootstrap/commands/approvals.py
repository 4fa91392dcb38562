"""`approvals ...`: see which tool calls and budgets wait for a person, and answer."""

import json
from typing import Annotated, Any

import typer

from bootstrap.commands.failure import CommandError
from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, Limit, examples
from bootstrap.commands.output import out_json, out_list, out_object
from bootstrap.commands.servers import connect
from bootstrap.commands.wire import at
from bootstrap.terminal import harmless, out, seen

approvals = typer.Typer(
    help="See which tool calls and budgets wait for a person, and answer.", no_args_is_help=True
)

ApprovalId = Annotated[str, typer.Argument(metavar="APPROVAL_ID", help="ap_...")]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Kept; the model reads why not.")
]
_COLUMNS = ("approval_id", "status", "risk", "asker", "expires_at", "args_summary")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(approvals, name="approvals")


@approvals.command("list", epilog=examples("orchestrator approvals list --status all"))
def list_approvals(
    *,
    status: Annotated[
        str,
        typer.Option(
            "--status", metavar="STATUS", help="pending, approved, rejected, expired or all."
        ),
    ] = "pending",
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN_ID", help="Of this run only.")
    ] = None,
    limit: Limit = 20,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List approvals, newest first: those that wait, unless told otherwise."""
    wanted = None if status == "all" else status
    with connect(api_url, api_key) as api:
        found = api.pages("/v1/approvals", "approvals", limit, status=wanted, run_id=run)
    out_list(found, _COLUMNS, as_json=as_json, empty="there are no such approvals")


@approvals.command("show", epilog=examples("orchestrator approvals show ap_01k9"))
def show_approval(
    approval_id: ApprovalId,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show one approval: exactly what will run, why it is asked, what became of it."""
    with connect(api_url, api_key) as api:
        shown = api.call("GET", at("/v1/approvals/{}", approval_id))
    out_object(shown, as_json=as_json, plain=seen)


@approvals.command(
    "approve",
    epilog=examples(
        "orchestrator approvals approve ap_01k9",
        """orchestrator approvals approve ap_01k9 --args '{"amount": 50}' --remember session""",
    ),
)
def approve(  # noqa: PLR0913 - each option is a parameter
    approval_id: ApprovalId,
    *,
    reason: Reason = None,
    args: Annotated[
        str | None,
        typer.Option("--args", metavar="JSON", help="Run it with these arguments instead."),
    ] = None,
    remember: Annotated[
        str,
        typer.Option(
            "--remember",
            metavar="HOW_LONG",
            help="none, session or agent: ask no more for this tool.",
        ),
    ] = "none",
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Let a tool call run, or raise a budget."""
    body: dict[str, Any] = {"decision": "approve", "remember": remember}
    if args is not None:
        body["edited_args"] = _object(args)
    _decide(approval_id, body | _why(reason), (api_url, api_key), as_json=as_json)


@approvals.command(
    "reject", epilog=examples('orchestrator approvals reject ap_01k9 --reason "too expensive"')
)
def reject(
    approval_id: ApprovalId,
    reason: Reason = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a tool call: the model reads why and goes on. Or a budget: the run ends."""
    body = {"decision": "reject"} | _why(reason)
    _decide(approval_id, body, (api_url, api_key), as_json=as_json)


def _why(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"reason": reason}


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CommandError(f"the arguments are not JSON: {error}", code=2) from error
    if not isinstance(value, dict):
        raise CommandError("the arguments are a JSON object", code=2)
    return value


def _decide(
    approval_id: str, body: dict[str, Any], where: tuple[str | None, str | None], *, as_json: bool
) -> None:
    with connect(*where) as api:
        said = api.call("POST", at("/v1/approvals/{}/decide", approval_id), body=body)
    if as_json:
        out_json(said)
    else:
        out(harmless(f"{approval_id} is {said['status']} by {said['decided_by']}"))
