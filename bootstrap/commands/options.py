"""Options that many commands take, with one spelling and one help text."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ApiUrl = Annotated[
    str | None,
    typer.Option(
        "--api-url",
        envvar="ORCHESTRATOR_API_URL",
        metavar="URL",
        help="The API to talk to; left out: the one that runs on the data folder.",
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", envvar="ORCHESTRATOR_API_KEY", metavar="KEY", help="The API key to show it."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Where everything is kept (default: data)."),
]
Limit = Annotated[
    int, typer.Option("--limit", min=1, max=100_000, help="Most entries to print, newest first.")
]


def examples(*lines: str) -> str:
    """Return the end of a command's help."""
    # `\b` keeps the lines as they are.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
