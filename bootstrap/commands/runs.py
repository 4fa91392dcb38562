"""`runs ...`: look at runs, follow them, stop them."""

import json
from typing import Annotated

import typer

from bootstrap.commands.event_lines import EventPrinter
from bootstrap.commands.follow import RunStream
from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, Limit, examples
from bootstrap.commands.output import out_json, out_list, out_object
from bootstrap.commands.servers import connect
from bootstrap.commands.tree import answer_of, show_tree
from bootstrap.commands.wire import at
from bootstrap.terminal import out

runs = typer.Typer(help="Look at runs, follow them, stop them.", no_args_is_help=True)
runs.command("tree", epilog=examples("orchestrator runs tree run_01k9"))(show_tree)

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="run_...")]
_COLUMNS = ("run_id", "state", "agent_id", "session_id", "created_at", "answer")


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(runs, name="runs")


@runs.command("list", epilog=examples("orchestrator runs list --state FAILED --limit 20"))
def list_runs(  # noqa: PLR0913 - each option is a parameter
    *,
    state: Annotated[
        str | None,
        typer.Option(
            "--state", metavar="STATE", help="CREATED, RUNNING, DONE, FAILED or CANCELLED."
        ),
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="ID", help="Of this agent only.")
    ] = None,
    session: Annotated[
        str | None, typer.Option("--session", metavar="ID", help="Of this session only.")
    ] = None,
    forked_from: Annotated[
        str | None, typer.Option("--forked-from", metavar="RUN_ID", help="Forks of this run only.")
    ] = None,
    parent: Annotated[
        str | None, typer.Option("--parent", metavar="RUN_ID", help="Children of this run only.")
    ] = None,
    limit: Limit = 20,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    state = state.upper() if state else None
    with connect(api_url, api_key) as api:
        which = {
            "agent_id": agent,
            "session_id": session,
            "forked_from": forked_from,
            "parent_run_id": parent,
        }
        found = api.pages("/v1/runs", "runs", limit, state=state, **which)
    rows = found if as_json else [{**run, "answer": answer_of(run)} for run in found]
    out_list(rows, _COLUMNS, as_json=as_json, empty="there are no such runs")


@runs.command("show", epilog=examples("orchestrator runs show run_01k9 --json"))
def show_run(
    run_id: RunId, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Show one run: its state, answer, usage and links."""
    with connect(api_url, api_key) as api:
        out_object(api.call("GET", at("/v1/runs/{}", run_id)), as_json=as_json)


@runs.command("events", epilog=examples("orchestrator runs events run_01k9 --json | jq .type"))
def list_events(
    run_id: RunId, api_url: ApiUrl = None, api_key: ApiKey = None, as_json: AsJson = False
) -> None:
    """Print the events a run has so far; with --json one per line."""
    printer = EventPrinter()
    with connect(api_url, api_key) as api:
        for event in api.each(at("/v1/runs/{}/events", run_id), "events"):
            if as_json:
                out(json.dumps(event, ensure_ascii=False))
            else:
                printer.show(event)
    printer.finish()


@runs.command("tail", epilog=examples("orchestrator runs tail run_01k9"))
def tail_run(
    run_id: RunId,
    after_seq: Annotated[
        int, typer.Option("--after-seq", min=0, metavar="N", help="Skip the first N events.")
    ] = 0,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Print a run's events as they happen, until it has ended; with --json one per line."""
    printer = EventPrinter()
    stream = RunStream(lambda: connect(api_url, api_key), run_id=run_id, last_seq=after_seq)
    for event in stream.events():
        if as_json:
            out(json.dumps(event, ensure_ascii=False))
        else:
            printer.show(event)
    printer.finish()


@runs.command("cancel", epilog=examples('orchestrator runs cancel run_01k9 --reason "not needed"'))
def cancel_run(
    run_id: RunId,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Kept with the run.")
    ] = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Ask a run and all below it to stop; one that has ended stays as it is."""
    body = {"reason": reason} if reason else {}
    with connect(api_url, api_key) as api:
        run = api.call("POST", at("/v1/runs/{}/cancel", run_id), body=body)
    if as_json:
        out_json(run)
    else:
        ended = run["ended_at"] is not None
        out(f"{run_id} is {run['state']}" if ended else f"{run_id} was asked to stop")
