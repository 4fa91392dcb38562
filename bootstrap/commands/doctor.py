"""`doctor` and `version`: whether everything that is needed is there."""

import sys
from typing import Any

import typer

from bootstrap.commands.given import load_settings
from bootstrap.commands.options import AsJson, DataDir, examples
from bootstrap.commands.output import out_json
from bootstrap.terminal import harmless, out, paint, working

_MARK = {
    "ok": ("ok", "green"),
    "note": ("--", "dim"),
    "warn": ("!!", "yellow"),
    "fail": ("NO", "red"),
}


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=examples("orchestrator doctor", "orchestrator doctor --json"))(doctor)
    app.command(epilog=examples("orchestrator version --json"))(version)


def doctor(*, data_dir: DataDir = None, as_json: AsJson = False) -> int:
    """Check whether all that is needed is there.

    Looks at Temporal, the store, models, agents and ports; starts and changes nothing. Exit code 1
    if something would keep an orchestrator from starting.
    """
    from bootstrap.commands.checks import check_all  # noqa: PLC0415 - not for `--help`

    with working("looking"):
        findings = check_all(load_settings(data_dir=data_dir))
    if as_json:
        out_json([finding.as_json() for finding in findings])
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            mark, style = _MARK[finding.state]
            shown = paint(mark, style, sys.stdout)
            out(f"{shown}  {finding.what:{width}}  {harmless(finding.said)}")
    return 1 if any(finding.state == "fail" for finding in findings) else 0


def version(*, as_json: AsJson = False) -> None:
    """Print versions: ours, and of what we stand on."""
    from bootstrap.commands.checks import versions  # noqa: PLC0415 - not for `--help`

    found: dict[str, Any] = versions()
    if as_json:
        out_json(found)
    else:
        for name, text in found.items():
            out(f"{name} {text}")
