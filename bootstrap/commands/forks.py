"""`runs fork` and `runs retry`: go on from a turn of a run, as a new one."""

from typing import Annotated, Any

import typer

from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, examples
from bootstrap.commands.output import out_json
from bootstrap.commands.runs import RunId, runs
from bootstrap.commands.servers import connect
from bootstrap.commands.wire import at
from bootstrap.terminal import out

Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="NAME", help="Another chain; again for each model of it."),
]
Priority = Annotated[
    int | None, typer.Option("--priority", min=1, max=5, help="1 comes first, 5 last.")
]


def add_to(_app: typer.Typer) -> None:
    """Add the commands of this module: they stand in the group `runs`."""


@runs.command(
    "fork",
    epilog=examples(
        "orchestrator runs fork run_01k9 --from-turn 2",
        'orchestrator runs fork run_01k9 --from-turn 0 --input "The same, for Rome"',
    ),
)
def fork_run(  # noqa: PLR0913 - each option is a parameter
    run_id: RunId,
    *,
    from_turn: Annotated[
        int,
        typer.Option("--from-turn", min=0, metavar="N", help="How many turns to keep."),
    ],
    said: Annotated[
        str | None,
        typer.Option(
            "--input", metavar="TEXT", help="Replaces the question (turn 0), or follows the turn."
        ),
    ] = None,
    model: Models = None,
    priority: Priority = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Go on from a turn of a run, as a new run in a session of its own.

    Tool calls of kept turns are not made again, and kept replies not billed again.
    """
    body = edits(said, model, priority) | {"from_turn": from_turn}
    path = at("/v1/runs/{}/fork", run_id)
    make(path, body, run_id, (api_url, api_key), as_json=as_json)


@runs.command(
    "retry",
    epilog=examples(
        "orchestrator runs retry run_01k9",
        "orchestrator runs retry run_01k9 --model openai/gpt-5.5",
    ),
)
def retry_run(
    run_id: RunId,
    *,
    model: Models = None,
    priority: Priority = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Go on from the last good step of a run that failed or was cancelled, as a new run."""
    body = edits(None, model, priority)
    path = at("/v1/runs/{}/retry", run_id)
    make(path, body, run_id, (api_url, api_key), as_json=as_json)


def edits(said: str | None, models: list[str] | None, priority: int | None) -> dict[str, Any]:
    """Return the body that says what is different in the new run."""
    found = {"input": said, "models": models or None, "priority": priority}
    return {name: value for name, value in found.items() if value is not None}


def make(
    path: str,
    body: dict[str, Any],
    of: str,
    where: tuple[str | None, str | None],
    *,
    as_json: bool,
) -> None:
    """Ask for a new run made of `of`, and say which it is."""
    with connect(*where) as api:
        run = api.call("POST", path, body=body)
    if as_json:
        out_json(run)
    else:
        out(f"{run['run_id']} goes on from turn {run['forked_from']['turn']} of {of}")
