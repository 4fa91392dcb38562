"""A tree of 20 runs is cancelled: every model's socket closed, tool stopped, state final."""

import json
import time
from pathlib import Path
from typing import Any

from bench.bars import Figure, WrongAnswerError
from bench.lab import Lab
from bench.ours import Orchestrator, agent
from bench.procs import wait_for
from bench.wire import Connection

LEAVES = "[[tokens=5000 gap_ms=20]]"
RUNS = 20
STREAMS = 12
"""Runs of the tree that talk to a model; the others wait for those below them."""
TOOLS = 2
TOOL = "wait_for_cancel"


def measure(lab: Lab) -> list[Figure]:
    """Cancel the root, one tree after another."""
    ours = lab.orchestrator("tree", ORCHESTRATOR_TOOLS=f"bench.slow:{TOOL}").start()
    ours.register(agent())
    ours.register(agent("lead", model="offline/script", tools=["spawn_run", TOOL]))
    seconds, notes = [], []
    for number in range(2 if lab.quick else 8):
        sockets, tools, states = _cancel(lab, ours, lab.folder / f"tree-{number}")
        seconds.append(max(sockets, tools, states))
        notes.append((sockets, tools, states))
    ours.stop()
    sockets, tools, states = max(notes, key=max)
    note = f"worst tree: last socket {sockets:.2f} s, tool {tools:.2f} s, state {states:.2f} s"
    return [Figure("cancel_tree", max(seconds), f"{max(seconds):.2f} s", "", seconds, note)]


def _cancel(lab: Lab, ours: Orchestrator, folder: Path) -> tuple[float, float, float]:
    """Return the seconds until all sockets were closed, all tools stopped, all states final."""
    lab.fake.reset()
    folder.mkdir()
    marks = [folder / f"tool-{at}" for at in range(TOOLS)]
    assert ours.child is not None
    with ours.connect() as api:
        root = api.ask("POST", "/v1/runs", {"input": _script(marks), "agent_id": "lead"})["run_id"]
        wait_for("the tree works", lambda: _works(lab, api, root, marks), ours.child)
        asked = time.monotonic_ns()
        api.ask("POST", f"/v1/runs/{root}/cancel", {"reason": "measured"})
        wait_for("every run ends", lambda: _ended(api, root), ours.child)
        ended = time.monotonic_ns()
    calls = lab.fake.requests()
    if {call["outcome"] for call in calls} != {"client_closed"}:
        raise WrongAnswerError(f"calls at the model ended as {[c['outcome'] for c in calls]}")
    stopped = [int(mark.read_text()) for mark in marks]
    last_socket = max(call["ended_ns"] for call in calls)
    return (last_socket - asked) / 1e9, (max(stopped) - asked) / 1e9, (ended - asked) / 1e9


def _script(marks: list[Path]) -> str:
    """Return what the root does: 3 below it, 5 below those, 11 below those."""
    leaves = [2, 2, 2, 2, 3]
    below = [_spawn("lead", "\n".join([_spawn("bench", LEAVES)] * count)) for count in leaves]
    waits = [f"call {TOOL} {json.dumps({'path': str(mark)})}" for mark in marks]
    first = "\n".join([below[0], below[1], waits[0]])
    second = "\n".join([*below[2:], waits[1]])
    return "\n".join([_spawn("lead", first), _spawn("lead", second), _spawn("bench", LEAVES)])


def _spawn(agent_id: str, text: str) -> str:
    return f"call spawn_run {json.dumps({'agent_id': agent_id, 'input': text})}"


def _family(api: Connection, root: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.ask("GET", f"/v1/runs?root_run_id={root}&limit=100")["runs"]
    return found


def _works(lab: Lab, api: Connection, root: str, marks: list[Path]) -> bool:
    if len(lab.fake.requests()) < STREAMS or not all(mark.exists() for mark in marks):
        return False
    path = f"/v1/runs/{root}/events?tree=1&types=agent_stream_delta&limit=1000"
    texts = api.ask("GET", path)["events"]
    if len({event["run_id"] for event in texts if event["data"]["text"][:1] == "t"}) < STREAMS:
        return False
    runs = _family(api, root)
    depth = max(run["depth"] for run in runs)
    if (len(runs), depth) != (RUNS, 3):
        raise WrongAnswerError(f"{len(runs)} runs, {depth} deep, where {RUNS} of depth 3 were due")
    return True


def _ended(api: Connection, root: str) -> bool:
    states = {run["state"] for run in _family(api, root)}
    if states - {"RUNNING", "CREATED", "CANCELLED"}:
        raise WrongAnswerError(f"runs of a cancelled tree are {states}")
    return states == {"CANCELLED"}
