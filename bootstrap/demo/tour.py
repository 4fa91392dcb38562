"""The demo: three real runs over the HTTP API, then a worker killed in mid-stream.

Everything it shows comes over the API of real processes. What it promises it also checks.
"""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bootstrap.children import Child
from bootstrap.commands.api import Api
from bootstrap.commands.failure import CommandError
from bootstrap.demo.kill import roles_apart
from bootstrap.demo.stage import Stage
from bootstrap.terminal import note, out, paint, working

_STORY = (
    "say Durable means that the work goes on: had this process died in mid-sentence,\n"
    "say another one would have finished it, and nobody would have been asked twice.\n"
    "first_ms=150 gap_ms=35"
)
_SUM = "What is 12.5 * 8?"
_BEFORE = "What did your colleague just say?"

AGENTS = (
    {
        "agent_id": "demo-storyteller",
        "name": "Storyteller (demo)",
        "description": "demo: the offline model, following a script",
        "models": ["offline/script"],
    },
    {
        "agent_id": "demo-calculator",
        "name": "Calculator (demo)",
        "description": "demo: the offline model with a tool",
        "models": ["offline/assistant"],
        "tools": ["calculator"],
    },
    {
        "agent_id": "demo-listener",
        "name": "Listener (demo)",
        "description": "demo: the offline model, answering what it is asked",
        "models": ["offline/assistant"],
    },
)
"""The demo's own agents: they use the offline model, also where keys are configured."""


def run_demo(data_dir: Path | None) -> int:
    """Show everything; return 0 if all was as promised."""
    started = time.monotonic()
    with _folder(data_dir) as folder:
        stage = Stage(log_file=folder / "demo.log")
        environment = _environment(folder)
        _head(folder)
        _three_runs(stage, environment)
        roles_apart(stage, environment)
    _totals(stage, time.monotonic() - started)
    return 1 if stage.faults else 0


def _three_runs(stage: Stage, environment: dict[str, str | None]) -> None:
    stage.title("Part 1: three runs over the HTTP API of one process")
    with Child(["up"], stage.log_file, environment) as child:
        with working("starting the orchestrator"):
            serving = child.wait_ready()
        if serving.api is None:
            raise CommandError("the orchestrator serves no API")
        stage.say(f"API {serving.api}   Temporal UI {serving.temporal_ui or 'of the cluster'}")
        with Api(serving.api, os.environ.get("ORCHESTRATOR_API_KEY")) as api:
            add_agents(api)
            _scenes(stage, api)
        with working("stopping the orchestrator"):
            code = child.stop()
        stage.check("the orchestrator stopped in order", code == 0)


def _scenes(stage: Stage, api: Api) -> None:
    story = stage.play(api, "an answer that streams", "demo-storyteller", _STORY)
    pieces = sum(event["type"] == "agent_stream_delta" for event in story.events)
    stage.check("the answer came in pieces, while it was made", pieces > 3)
    summed = stage.play(api, "a question that needs the calculator tool", "demo-calculator", _SUM)
    used = any(event["type"] == "tool_result" for event in summed.events)
    stage.check("the tool was called, and 12.5 * 8 = 100", used and "= 100" in summed.answer)
    # The session of the first run: another agent reads there what that one said.
    title = "two agents in one session: the second hears what run 1 said"
    heard = stage.play(api, title, "demo-listener", _BEFORE, story.session_id)
    same = heard.session_id == story.session_id and heard.agent_id != story.agent_id
    stage.check("the second agent saw the first one's words", same and _quotes(heard.answer))


def _quotes(answer: str) -> bool:
    return "Durable means that the work goes on" in answer


def add_agents(api: Api) -> None:
    """Register the demo's agents, unless an earlier demo did."""
    there = {agent["agent_id"] for agent in api.each("/v1/agents", "agents")}
    for agent in AGENTS:
        if agent["agent_id"] not in there:
            api.call("POST", "/v1/agents", body=agent)


@contextlib.contextmanager
def _folder(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is not None:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        yield data_dir
        return
    with tempfile.TemporaryDirectory(prefix="orchestrator-demo-") as name:
        yield Path(name)


def _environment(folder: Path) -> dict[str, str | None]:
    """Return what the demo's processes are told; None takes a variable away."""
    environment: dict[str, str | None] = {
        "ORCHESTRATOR_DATA_DIR": str(folder.absolute()),
        "ORCHESTRATOR_HOST": "127.0.0.1",
        "ORCHESTRATOR_PORT": "0",
        "ORCHESTRATOR_TEMPORAL_PORT": "0",
        "ORCHESTRATOR_TEMPORAL_UI_PORT": "0",
        # Of our own, so that no other worker of a cluster takes the run of the one we kill.
        "TEMPORAL_TASK_QUEUE": f"orchestrator-demo-{os.getpid()}",
    }
    if not (os.environ.get("TEMPORAL_ADDRESS") and os.environ.get("DATABASE_URL")):
        # Half a cluster is none: the demo keeps to its own folder.
        environment |= {"TEMPORAL_ADDRESS": None, "DATABASE_URL": None}
    return environment


def _head(folder: Path) -> None:
    out(paint("Durable agent orchestrator: demo", "bold", sys.stdout))
    address = os.environ.get("TEMPORAL_ADDRESS")
    cluster = address if address and os.environ.get("DATABASE_URL") else None
    out(f"Everything is in {folder}" + (f", on the cluster at {cluster}" if cluster else ""))
    out("The offline model answers: no key, no network. `orchestrator up` uses real ones.")


def _totals(stage: Stage, seconds: float) -> None:
    out("")
    totals = (
        f"{stage.runs} runs, {stage.events} events, {stage.tokens} tokens, {seconds:.1f} seconds"
    )
    out(paint(totals, "bold", sys.stdout))
    if stage.faults:
        note(paint(f"NOT as promised: {'; '.join(stage.faults)}", "red", sys.stderr))
    else:
        out(paint("All was as promised. `make up` serves until Ctrl-C.", "green", sys.stdout))
