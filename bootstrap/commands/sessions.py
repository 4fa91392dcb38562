"""`sessions ...`: look into conversations and empty them."""

from typing import Annotated

import typer

from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, Limit, examples
from bootstrap.commands.output import out_json, out_list
from bootstrap.commands.servers import connect
from bootstrap.commands.wire import at
from bootstrap.terminal import out

sessions = typer.Typer(help="Look into conversations and empty them.", no_args_is_help=True)

SessionId = Annotated[str, typer.Argument(metavar="SESSION_ID")]
_COLUMNS = ("session_id", "agent_id", "message_count", "token_count", "active_run_id", "created_at")
_MESSAGE_COLUMNS = ("seq", "role", "agent_id", "content")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(sessions, name="sessions")


@sessions.command("list", epilog=examples("orchestrator sessions list --limit 5"))
def list_sessions(
    limit: Limit = 20, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """List sessions, newest first."""
    with connect(api_url, api_key) as api:
        found = api.pages("/v1/sessions", "sessions", limit)
    out_list(found, _COLUMNS, as_json=as_json, empty="there are no sessions")


@sessions.command("messages", epilog=examples("orchestrator sessions messages s1"))
def list_messages(
    session_id: SessionId,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Most messages, from the first.")
    ] = 1000,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Print a conversation, in order."""
    with connect(api_url, api_key) as api:
        found = api.pages(at("/v1/sessions/{}/messages", session_id), "messages", limit)
    out_list(found, _MESSAGE_COLUMNS, as_json=as_json, empty="there are no messages")


@sessions.command("clear", epilog=examples("orchestrator sessions clear s1"))
def clear_session(
    session_id: SessionId, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Empty a conversation; refused while a run holds it."""
    with connect(api_url, api_key) as api:
        said = api.call("DELETE", at("/v1/sessions/{}/messages", session_id))
    if as_json:
        out_json(said or {"session_id": session_id, "cleared": True})
    else:
        out(f"session {session_id} is empty")
