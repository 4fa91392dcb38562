"""`deadletters ...`: runs that were given up on; look at them, re-drive or discard them."""

from typing import Annotated

import typer

from bootstrap.commands.forks import Models, Priority, edits, make
from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, Limit, examples
from bootstrap.commands.output import out_json, out_list, out_object
from bootstrap.commands.servers import connect
from bootstrap.commands.wire import at
from bootstrap.terminal import out

deadletters = typer.Typer(
    help="Runs that were given up on: look at them, re-drive or discard them.",
    no_args_is_help=True,
)

LetterId = Annotated[str, typer.Argument(metavar="DEAD_LETTER_ID", help="dl_...")]
_COLUMNS = ("dead_letter_id", "status", "code", "step", "run_id", "created_at", "reason")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(deadletters, name="deadletters")


@deadletters.command("list", epilog=examples("orchestrator deadletters list --status all"))
def list_letters(
    *,
    status: Annotated[
        str,
        typer.Option("--status", metavar="STATUS", help="waiting, redriven, discarded or all."),
    ] = "waiting",
    limit: Limit = 20,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first: those that nobody has settled, unless told otherwise."""
    wanted = None if status == "all" else status
    with connect(api_url, api_key) as api:
        found = api.pages("/v1/dead_letters", "dead_letters", limit, status=wanted)
    out_list(found, _COLUMNS, as_json=as_json, empty="there are no such dead letters")


@deadletters.command("show", epilog=examples("orchestrator deadletters show dl_01k9"))
def show_letter(
    dead_letter_id: LetterId,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter: what was asked, which step kept failing, and why."""
    with connect(api_url, api_key) as api:
        out_object(api.call("GET", at("/v1/dead_letters/{}", dead_letter_id)), as_json=as_json)


@deadletters.command(
    "redrive",
    epilog=examples(
        "orchestrator deadletters redrive dl_01k9",
        'orchestrator deadletters redrive dl_01k9 --input "the same, with a smaller picture"',
    ),
)
def redrive(  # noqa: PLR0913 - each option is a parameter
    dead_letter_id: LetterId,
    *,
    said: Annotated[
        str | None,
        typer.Option("--input", metavar="TEXT", help="Begin anew with this message instead."),
    ] = None,
    model: Models = None,
    priority: Priority = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Make a new run of a dead letter: from its last good step, or anew with another message."""
    body = edits(said, model, priority)
    path = at("/v1/dead_letters/{}/redrive", dead_letter_id)
    make(path, body, dead_letter_id, (api_url, api_key), as_json=as_json)


@deadletters.command(
    "discard", epilog=examples('orchestrator deadletters discard dl_01k9 --note "a test"')
)
def discard(
    dead_letter_id: LetterId,
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="Kept with it.")
    ] = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Put on record that nothing will be done about it."""
    body = {} if note is None else {"note": note}
    with connect(api_url, api_key) as api:
        path = at("/v1/dead_letters/{}/discard", dead_letter_id)
        settled = api.call("POST", path, body=body)
    if as_json:
        out_json(settled)
    else:
        out(f"{dead_letter_id} is discarded")
