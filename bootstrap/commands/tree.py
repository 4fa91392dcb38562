"""`runs tree`: a run and all that work for it, with what each cost."""

import shutil
from collections import defaultdict
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from bootstrap.commands.options import ApiKey, ApiUrl, AsJson
from bootstrap.commands.output import out_json
from bootstrap.commands.servers import connect
from bootstrap.commands.wire import at
from bootstrap.terminal import harmless, out

Json = dict[str, Any]


def show_tree(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="run_...")],
    api_url: ApiUrl = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show a run and all runs below it; with --json as a list, each before those below it."""
    with connect(api_url, api_key) as api:
        top = api.call("GET", at("/v1/runs/{}", run_id))
        family = list(api.each("/v1/runs", "runs", root_run_id=top["root_run_id"]))
    lines = list(_lines(top, _by_parent(family)))
    if as_json:
        out_json([run for _, run in lines])
    else:
        out("\n".join(_drawn(lines)))


def answer_of(run: Json) -> str:
    """Return what a run says, or what it waits for."""
    said = run["output"] or run["error"]
    if not isinstance(said, dict):
        return f"waits for {run['waiting_on']}" if run["waiting_on"] else ""
    return str(said.get("content") or said.get("message") or "")


def _by_parent(runs: list[Json]) -> dict[str, list[Json]]:
    """Return the children of each run, the oldest first; lists come newest first."""
    found: dict[str, list[Json]] = defaultdict(list)
    for run in reversed(runs):
        if run["parent_run_id"] is not None:
            found[run["parent_run_id"]].append(run)
    return found


def _lines(run: Json, below: dict[str, list[Json]], indent: str = "") -> Iterator[tuple[str, Json]]:
    yield indent, run
    children = below.get(run["run_id"], [])
    deeper = indent.replace("├─", "│ ").replace("└─", "  ")
    for place, child in enumerate(children, start=1):
        branch = "└─" if place == len(children) else "├─"
        yield from _lines(child, below, f"{deeper}{branch} ")


def _drawn(lines: list[tuple[str, Json]]) -> Iterator[str]:
    """Return a line for each run, its branch before it and what it said cut to the terminal."""
    width = max(len(branch) + len(run["run_id"]) for branch, run in lines)
    agents = max(len(run["agent_id"] or run["kind"]) for _, run in lines)
    room = shutil.get_terminal_size((160, 24)).columns
    for branch, run in lines:
        usage = run["usage"]
        cost = "unpriced" if usage["cost_usd"] is None else f"${usage['cost_usd']}"
        tokens = f"{usage['input_tokens'] + usage['output_tokens']} tokens"
        who = run["agent_id"] or run["kind"]
        head = f"{branch + run['run_id']:{width}}  {run['state']:9}  {who:{agents}}"
        yield f"{head}  {tokens:>12}  {cost:>8}  {_one_line(answer_of(run))}"[: max(room, 40)]


def _one_line(text: str) -> str:
    return harmless(" ".join(text.split()))
