"""`demo`: three real runs before your eyes, then a worker killed in mid-stream."""

from pathlib import Path
from typing import Annotated

import typer

from bootstrap.commands.options import examples


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=examples("orchestrator demo", "orchestrator demo --data-dir demo-data"))(
        demo
    )


def demo(
    *,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="Keep everything here.")
    ] = None,
) -> int:
    """See three real runs, and a killed worker.

    Starts an orchestrator, three runs over its API, then the roles apart with a worker that is
    killed in mid-stream. Uses free ports, the offline model and a temporary folder (or --data-dir,
    which is kept). With TEMPORAL_ADDRESS and DATABASE_URL set it uses that cluster. Exit code 0 if
    all was as promised.
    """
    from bootstrap.demo.tour import run_demo  # noqa: PLC0415 - not for `--help`

    return run_demo(data_dir)
