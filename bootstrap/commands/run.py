"""`run`: ask an agent and see the answer grow."""

import sys
from datetime import datetime
from typing import Annotated, Literal

import typer

from bootstrap.commands.ctrl_c import CtrlC
from bootstrap.commands.event_lines import usage_text
from bootstrap.commands.failure import CommandError
from bootstrap.commands.follow import RunStream
from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, DataDir, examples
from bootstrap.commands.output import out_json
from bootstrap.commands.screen import RunScreen
from bootstrap.commands.servers import Servers
from bootstrap.commands.wire import Json, at
from bootstrap.terminal import harmless, note, paint


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        epilog=examples(
            'orchestrator run "What is 6 * 7?"',
            'orchestrator run --agent writer --session s1 "A haiku about durability"',
            "git diff | orchestrator run --agent writer - > summary.txt",
            'orchestrator run --json "What time is it?" | jq .output.content',
        )
    )(run)


def run(  # noqa: PLR0913 - each option is a parameter
    question: Annotated[str, typer.Argument(help="What to ask; - reads it from stdin.")],
    *,
    agent: Annotated[
        str | None,
        typer.Option("--agent", metavar="ID", help="Who is asked; left out: the best match."),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option("--session", metavar="ID", help="Go on with this conversation; made if new."),
    ] = None,
    on_busy: Annotated[
        Literal["enqueue", "reject", "interrupt", "steer"] | None,
        typer.Option(
            metavar="POLICY",
            help="While another run holds the conversation: enqueue, reject, interrupt or steer.",
        ),
    ] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", min=1, max=5, help="1 comes first, 5 last.")
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option("--deadline", metavar="SECONDS", help="Give up if not done by then."),
    ] = None,
    start_delay: Annotated[
        float | None,
        typer.Option("--start-delay", metavar="SECONDS", help="Begin later; Ctrl-C leaves it."),
    ] = None,
    data_dir: DataDir = None,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> int:
    """Ask an agent, and see the answer as it grows.

    Uses the orchestrator that runs on the data folder, else starts one for as long as this takes.
    The answer goes to stdout, what else happens to stderr. Ctrl-C leaves; the run goes on, one on
    an orchestrator of its own with the next `orchestrator up`. With --json the run is printed once
    it has ended. Exit code 0 if it is DONE.
    """
    asked = sys.stdin.read() if question == "-" else question
    if not asked.strip():
        raise CommandError("there is nothing to ask", code=2)
    body: Json = {"input": asked}
    body |= {"agent_id": agent} if agent else {}
    body |= {"session_id": session} if session else {}
    body |= {"on_busy": on_busy} if on_busy else {}
    times = {"priority": priority, "deadline": deadline, "start_delay": start_delay}
    body |= {name: value for name, value in times.items() if value is not None}
    with Servers(api_url, api_key, data_dir) as servers:
        stream = RunStream(servers.open, start=body, come_back=servers.come_back)
        screen = RunScreen(live=sys.stdout.isatty())
        try:
            with CtrlC() as ctrl_c:
                for event in stream.events():
                    ctrl_c.check()
                    if not as_json:
                        screen.show(event)
        except KeyboardInterrupt:
            note(f"\n{stream.left()}")
            raise
        with servers.open() as api:
            ended = api.call("GET", at("/v1/runs/{}", str(stream.run_id)))
        if as_json:
            out_json(ended)
        else:
            # The address of the Temporal UI ends with a server of our own.
            _say_end(ended, show_ui=not servers.is_own)
    return 0 if ended["state"] == "DONE" else 1


def _say_end(run: Json, *, show_ui: bool) -> None:
    if run["error"]:
        text = f"Error: {run['error']['code']}: {run['error']['message']}"
        note(paint(harmless(text), "red", sys.stderr))
    facts = [f"{run['state']} in {_seconds(run):.1f} s", usage_text(run["usage"]), run["run_id"]]
    if show_ui and run["links"]["temporal_ui"]:
        facts.append(run["links"]["temporal_ui"])
    note(paint(" \u00b7 ".join(facts), "dim", sys.stderr))


def _seconds(run: Json) -> float:
    began, ended = (datetime.fromisoformat(run[name]) for name in ("created_at", "ended_at"))
    return (ended - began).total_seconds()
