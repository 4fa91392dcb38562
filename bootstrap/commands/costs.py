"""`costs`: what model calls did cost, today unless told otherwise."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from bootstrap.commands.options import ApiKey, ApiUrl, AsJson, examples
from bootstrap.commands.output import out_json, out_list
from bootstrap.commands.servers import connect
from bootstrap.terminal import note

_COLUMNS = (
    *("calls", "failed_calls", "input_tokens", "output_tokens", "cached_tokens"),
    *("cost_usd", "estimated_usd", "key"),
)


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(
        "costs",
        epilog=examples(
            "orchestrator costs",
            "orchestrator costs --by agent",
            "orchestrator costs --by day --since 2026-11-01",
            "orchestrator costs --by tree --since always --json",
        ),
    )(show_costs)


def show_costs(  # noqa: PLR0913 - each option is a parameter
    *,
    by: Annotated[
        str,
        typer.Option(
            "--by", metavar="WHAT", help="model, agent, session, goal, key, day, run or tree."
        ),
    ] = "model",
    since: Annotated[
        str, typer.Option("--since", metavar="WHEN", help="A day, a time, `today` or `always`.")
    ] = "today",
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="Up to this day or time.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=1000, help="Most sums to print.")
    ] = 20,
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show what model calls did cost, failed ones too, the dearest first. Days are in UTC."""
    asked = {"by": by, "since": _moment(since), "until": _moment(until), "limit": limit}
    with connect(api_url, api_key) as api:
        said = api.call("GET", "/v1/costs", params=asked)
    if as_json:
        out_json(said)
        return
    out_list(said["costs"], _COLUMNS, as_json=False, empty="no model was called")
    total = said["total"]
    if total["calls"]:
        cost = total["cost_usd"] or f"at least {total['priced_usd']}"
        note(f"{total['calls']} calls, {total['failed_calls']} failed: {cost} USD")
    for warning in said["warnings"]:
        note(f"{warning['calls']} calls are not in it: {warning['message']}")


def _moment(said: str | None) -> str | None:
    """Return a time for the API: a day begins at midnight UTC."""
    if said is None or said == "always":
        return None
    if said == "today":
        said = datetime.now(UTC).date().isoformat()
    return said if "T" in said else f"{said}T00:00:00Z"
