"""From asking for a cancel until the socket at the model is closed and the viewer sees the end."""

import re
import time

from bench.bars import Figure, WrongAnswerError
from bench.events import check_order, events_of
from bench.lab import Lab
from bench.ours import Orchestrator, agent, start_request
from bench.stats import percentile
from bench.wire import Connection, request_bytes

PROMPT = "[[tokens=500 gap_ms=20]]"
_RUN_ID = re.compile(rb'"run_id":"([^"]+)"')


def measure(lab: Lab) -> list[Figure]:
    """Cancel runs in mid-stream, one at a time."""
    return [_figure(lab, lab.ours, "cancel")]


def measure_apart(lab: Lab) -> list[Figure]:
    """The same where a worker of its own runs them: the cancel has to get there."""
    server = lab.child(
        "cluster", "-m", "bench.anchors.devserver", "--data-file", str(lab.folder / "cancel.db")
    )
    server.hear()
    shared = {
        "TEMPORAL_ADDRESS": server.ask({"do": "serve"})["address"],
        "DATABASE_URL": f"sqlite:///{lab.folder / 'cancel-apart.db'}",
    }
    api = lab.orchestrator("cancel-api", "api", **shared)
    api.spawn()
    worker = lab.orchestrator("cancel-worker", "worker", **shared).start()
    api.wait_ready().register(agent())
    figure = _figure(lab, api, "cancel_apart")
    for process in (api, worker):
        process.stop()
    server.kill()
    return [figure]


def _figure(lab: Lab, ours: Orchestrator, bar: str) -> Figure:
    seen = [_cancel_one(lab, ours) for _ in range(6 if lab.quick else 25)]
    closed = [to_close for to_close, _ in seen]
    p95, p50 = percentile(closed, 0.95), percentile(closed, 0.5)
    ended = percentile([to_end for _, to_end in seen], 0.95)
    note = f"p50 {p50:.3g} ms; the viewer sees CANCELLED after {ended:.3g} ms (p95)"
    return Figure(bar, p95, f"{p95:.3g} ms", "", closed, note)


class _Canceller:
    """Asks for a cancel as soon as the first piece of the answer is seen."""

    def __init__(self, api: Connection) -> None:
        self._api = api
        self.asked_ns = 0

    def __call__(self, piece: bytes) -> bool:
        found = _RUN_ID.search(piece)
        if not self.asked_ns and found and b"agent_stream_delta" in piece:
            self.asked_ns = time.monotonic_ns()
            target = f"/v1/runs/{found[1].decode()}/cancel"
            reply = self._api.send(request_bytes("POST", target, {"reason": "measured"}))
            if reply.status != 202:
                raise WrongAnswerError(f"cancel was answered with {reply.status}")
        return False


def _cancel_one(lab: Lab, ours: Orchestrator) -> tuple[float, float]:
    """Return the milliseconds until the model's socket was closed and the stream ended."""
    lab.fake.reset()
    with ours.connect() as viewer, ours.connect() as api:
        canceller = _Canceller(api)
        events = events_of(viewer.send(start_request(PROMPT), canceller))
    check_order(events)
    calls = lab.fake.requests()
    if events[-1].type != "run_cancelled" or len(calls) != 1:
        raise WrongAnswerError(f"{events[-1].type} after {len(calls)} model calls")
    if calls[0]["outcome"] != "client_closed":
        raise WrongAnswerError(f"the call at the model ended as {calls[0]['outcome']}")
    asked = canceller.asked_ns
    return (calls[0]["ended_ns"] - asked) / 1e6, (events[-1].at_ns - asked) / 1e6
