"""Runs that wait for people: what they take meanwhile, and how fast an evicted one goes on."""

import time
from collections.abc import Iterator
from functools import partial
from statistics import median

from bench.bars import Figure, WrongAnswerError
from bench.events import check_order, events_of
from bench.lab import Lab
from bench.ours import Orchestrator, agent, events_request, run_id_of
from bench.procs import Child, cpu_seconds, memory_mib, wait_for
from bench.stats import Paired
from bench.wire import Connection, request_bytes

PROMPT = '[[tool=calculator args={"expression":"6*7"} tokens=1]]'
POLICY = {"rules": [{"tool": "calculator", "decision": "ask"}]}
FIRST = 100
"""Runs that are not counted: what is loaded late is loaded by them."""
PAUSE_SECONDS = 0.03
_SETTLE_SECONDS = 5.0
_BLOCK = 8


def measure(lab: Lab) -> list[Figure]:
    """Park runs on approvals in a process of their own; then decide the oldest of them."""
    count, seconds, rounds = (400, 8.0, 2) if lab.quick else (1000, 45.0, 5)
    ours = lab.orchestrator("parked").start()
    ours.register(agent("asks", tools=["calculator"]) | {"tool_policy": POLICY})
    runs = _park(ours, FIRST)
    first = memory_mib(ours.pid)
    runs += _park(ours, count - FIRST)
    each = (memory_mib(ours.pid) - first) * 1024 / (count - FIRST)
    before, started = cpu_seconds(ours.pid), time.monotonic()
    time.sleep(seconds)
    share = 100 * (cpu_seconds(ours.pid) - before) / (time.monotonic() - started)
    return [
        Figure("parked_memory", each, f"{each:.3g} KiB", note=f"{count} runs"),
        Figure("parked_cpu", share, f"{share:.2g} %", note=f"over {seconds:.0f} s"),
        _decide(lab, ours, runs, rounds),
    ]


def _park(ours: Orchestrator, count: int) -> list[str]:
    """Start runs and wait until all of them wait; return their ids."""
    request = request_bytes("POST", "/v1/runs", {"input": PROMPT, "agent_id": "asks"})
    with ours.connect() as api:
        runs = [run_id_of(api.send(request)) for _ in range(count)]
    assert ours.child is not None
    for run_id in runs:
        wait_for(f"{run_id} waits", partial(_waits, ours, run_id), ours.child)
    time.sleep(_SETTLE_SECONDS)
    return runs


def _waits(ours: Orchestrator, run_id: str) -> bool:
    return bool(ours.ask("GET", f"/v1/runs/{run_id}")["waiting_on"] == "approval")


def _pending(ours: Orchestrator) -> Iterator[tuple[str, str]]:
    """Yield the run and the approval of every question that is open."""
    cursor = ""
    while True:
        page = ours.ask("GET", f"/v1/approvals?status=pending&limit=500{cursor}")
        for approval in page["approvals"]:
            yield approval["run_id"], approval["approval_id"]
        if not page["has_more"]:
            return
        cursor = f"&cursor={page['next_cursor']}"


def _decide(lab: Lab, ours: Orchestrator, runs: list[str], rounds: int) -> Figure:
    anchor = lab.child("parked", "-m", "bench.anchors.parked", "--address", ours.temporal)
    anchor.hear()
    anchor.ask({"do": "park", "runs": FIRST + 2 * _BLOCK * (rounds + 1)})
    time.sleep(_SETTLE_SECONDS)
    approvals = dict(_pending(ours))
    mine: list[float] = []
    other: list[float] = []
    for number in range(rounds + 1):
        block = runs[number * _BLOCK : (number + 1) * _BLOCK]
        mine.append(median(_decide_one(ours, run_id, approvals[run_id]) for run_id in block))
        other.append(median(_wake(anchor)))
    pair = Paired(mine[1:], other[1:])
    shown = pair.shown("ms")
    return Figure("decide", pair.ratio, *shown, pair.ratios, "", {"pair": pair})


def _wake(anchor: Child) -> list[float]:
    said = anchor.ask({"do": "wake", "runs": _BLOCK, "pause": PAUSE_SECONDS})
    if "error" in said:
        raise WrongAnswerError(said["error"])
    found: list[float] = said["start_ms"]
    return found


class _Decider:
    """Approves as soon as the run is seen to wait."""

    def __init__(self, api: Connection, approval_id: str) -> None:
        self._api = api
        self._target = f"/v1/approvals/{approval_id}/decide"
        self.asked_ns = 0

    def __call__(self, piece: bytes) -> bool:
        if not self.asked_ns and b"run_waiting" in piece:
            time.sleep(PAUSE_SECONDS)
            self.asked_ns = time.monotonic_ns()
            reply = self._api.send(request_bytes("POST", self._target, {"decision": "approve"}))
            if reply.status != 200:
                raise WrongAnswerError(f"a decision was answered with {reply.status}")
        return False


def _decide_one(ours: Orchestrator, run_id: str, approval_id: str) -> float:
    """Return the milliseconds from the decision until a viewer sees that the tool began."""
    with ours.connect() as viewer, ours.connect() as api:
        decider = _Decider(api, approval_id)
        events = events_of(viewer.send(events_request(run_id), decider))
    check_order(events)
    began = [event.at_ns for event in events if event.type == "tool_dispatched"]
    if events[-1].type != "run_done" or len(began) != 1:
        raise WrongAnswerError(f"{events[-1].type} after {len(began)} starts of the tool")
    return (began[0] - decider.asked_ns) / 1e6
