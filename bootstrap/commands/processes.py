"""`up`, `api`, `worker`: a process that serves until it is told to stop."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bootstrap.commands.given import load_settings
from bootstrap.commands.options import AsJson, DataDir, examples
from bootstrap.terminal import out, paint

if TYPE_CHECKING:
    from bootstrap.settings import Settings
    from bootstrap.supervisor import Endpoints

_KEYS = "set ANTHROPIC_API_KEY or OPENAI_API_KEY for a real model"
_EVERYTHING = "/docs"
NAMES = frozenset({"up", "api", "worker"})
"""The commands of this module."""

Host = Annotated[
    str | None, typer.Option("--host", metavar="HOST", help="Where to listen (127.0.0.1).")
]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="PORT", min=0, max=65535, help="0 is any free one (8080)."),
]
Restart = Annotated[
    bool,
    typer.Option(
        "--restart-unfinished",
        help="When another Temporal version wrote the data: start every open run again.",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=examples("orchestrator up", "orchestrator up --port 0 --data-dir /tmp/x"))(
        up
    )
    app.command(
        epilog=examples("TEMPORAL_ADDRESS=temporal:7233 DATABASE_URL=... orchestrator api")
    )(api)
    app.command(
        epilog=examples("TEMPORAL_ADDRESS=temporal:7233 DATABASE_URL=... orchestrator worker")
    )(worker)


def up(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    restart_unfinished: Restart = False,
    as_json: AsJson = False,
) -> int:
    """Serve everything until Ctrl-C.

    API and worker in one process and, unless TEMPORAL_ADDRESS is set, a Temporal dev server with
    its UI. What is kept is in the data folder; a start goes on where the last one stopped.
    """
    settings = load_settings(host=host, port=port, data_dir=data_dir)
    return _serve({"api", "worker"}, settings, as_json, restart_unfinished)


def api(
    host: Host = None, port: Port = None, data_dir: DataDir = None, as_json: AsJson = False
) -> int:
    """Serve the API alone.

    Against TEMPORAL_ADDRESS and DATABASE_URL; any number of them.
    """
    return _serve({"api"}, load_settings(host=host, port=port, data_dir=data_dir), as_json)


def worker(
    queue: Annotated[
        str | None, typer.Option("--queue", metavar="NAME", help="The Temporal task queue.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, help="Steps that run at once (200).")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Serve as a worker alone.

    Against TEMPORAL_ADDRESS and DATABASE_URL; any number of them.
    """
    settings = load_settings(task_queue=queue, worker_slots=concurrency, data_dir=data_dir)
    return _serve({"worker"}, settings, as_json)


def _serve(
    roles: set[str], settings: "Settings", as_json: bool, restart_unfinished: bool = False
) -> int:
    # Heavy, and not for `--help`.
    from bootstrap import pace  # noqa: PLC0415

    pace.hurry()
    from bootstrap.logs.telemetry import configure_logging  # noqa: PLC0415
    from bootstrap.supervisor import serve  # noqa: PLC0415

    started = time.monotonic()
    configure_logging(settings)

    def on_ready(endpoints: "Endpoints") -> None:
        if as_json:
            out(_as_json(endpoints))
        else:
            out(banner(endpoints, sorted(roles), time.monotonic() - started))

    return pace.run(
        lambda: serve(
            frozenset(roles), settings, on_ready=on_ready, restart_unfinished=restart_unfinished
        )
    )


def _as_json(endpoints: "Endpoints") -> str:
    shown = {
        "api": endpoints.api,
        "temporal": endpoints.temporal,
        "temporal_ui": endpoints.temporal_ui,
        "data_dir": endpoints.data_dir,
        "pid": endpoints.pid,
        "providers": list(endpoints.providers),
        "version": endpoints.version,
    }
    return json.dumps(shown)


def banner(endpoints: "Endpoints", roles: list[str], seconds: float) -> str:
    """Return what a person reads once the process serves."""
    what = "" if len(roles) > 1 else f" {roles[0]}"
    head = f"orchestrator{what} {endpoints.version} is ready ({seconds:.1f} s)"
    lines = [paint(head, "bold", sys.stdout)]
    for label, value in _facts(endpoints):
        lines.append(f"  {paint(f'{label:14}', 'dim', sys.stdout)}{value}")
    lines.append("Ctrl-C stops.")
    return "\n".join(lines)


def _facts(endpoints: "Endpoints") -> list[tuple[str, str]]:
    facts = []
    if endpoints.api:
        facts += [("API", endpoints.api), ("API docs", f"{endpoints.api}{_EVERYTHING}")]
    facts.append(("Temporal", endpoints.temporal))
    facts.append(
        ("Temporal UI", endpoints.temporal_ui or "not known; set ORCHESTRATOR_TEMPORAL_UI_URL")
    )
    facts.append(("data folder", str(Path(endpoints.data_dir).absolute())))
    real = [name for name in endpoints.providers if name != "offline"]
    facts.append(("models", ", ".join([*real, "offline"]) + ("" if real else f" only; {_KEYS}")))
    if endpoints.api:
        facts.append(("try", f'{_program()} run "What is 6 * 7?"'))
    return facts


def _program() -> str:
    """Return how to call this program from here: by its name only where a shell would find it."""
    import shutil  # noqa: PLC0415 - not for `--help`

    beside = Path(sys.executable).with_name("orchestrator")
    if shutil.which("orchestrator") or not beside.exists():
        return "orchestrator"
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
