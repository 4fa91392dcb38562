"""Reference pages made from the code: `python -m bootstrap.reference.pages` writes them."""

import inspect
from pathlib import Path

from api.codes import CODES
from api.errors import STATUS
from bootstrap.reference.commands import cli_page, settings_page
from domain.errorlist import leaves
from domain.errors import OrchestratorError
from domain.event import DATA_OF, TERMINAL_EVENTS

_HEAD = ("| code | HTTP | meaning |", "|---|---|---|")
FOLDER = Path(__file__).parents[2] / "docs" / "reference"


def events_page() -> str:
    """Return the page of all event types with their data."""
    lines = [
        "# Events",
        "",
        "Generated from `domain/event.py`. Every event is `{event_id, run_id, seq, ts, type, data,"
        " root_run_id, parent_run_id, depth}`; `seq` counts 1, 2, 3 ... within the run, `ts` is in"
        " milliseconds. As a server-sent event: `id:` is `seq`, `event:` is `type`.",
        "",
        "| type | data |",
        "|---|---|",
    ]
    for kind, fields in DATA_OF.items():
        mark = " (ends the run)" if kind in TERMINAL_EVENTS else ""
        shown = "<br>".join(f"`{name}`: {what}" for name, what in fields.items())
        lines.append(f"| `{kind}`{mark} | {shown} |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Return the page of all errors with their status."""
    lines = [
        "# Errors",
        "",
        "Generated from `domain/errors.py`, `api/errors.py` and `api/codes.py`. Native paths answer"
        " `application/problem+json` with `code`; runs that fail carry codes in `error.code`.",
        "",
        *_HEAD,
    ]
    for error in leaves():
        lines.append(f"| `{error.code}` | {_status(error)} | {_meaning(error)} |")
    lines += ["", "Refused for their form, or the answer of a path alone:", "", *_HEAD]
    for code, (status, meaning) in CODES.items():
        lines.append(f"| `{code}` | {status} | {meaning} |")
    return "\n".join(lines) + "\n"


def _status(error: type[OrchestratorError]) -> int:
    return next(STATUS[cls] for cls in error.__mro__ if cls in STATUS)


def _meaning(error: type[OrchestratorError]) -> str:
    return (inspect.getdoc(error) or "").partition("\n\n")[0].replace("\n", " ")


PAGES = {
    "events.md": events_page,
    "errors.md": errors_page,
    "cli.md": cli_page,
    "settings.md": settings_page,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())


if __name__ == "__main__":
    main()
