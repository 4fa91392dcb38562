"""A finished run of 10,000 events over HTTP, against uvicorn sending the same bytes from memory."""

from statistics import median

from bench.bars import Figure, WrongAnswerError
from bench.events import check_order, events_of
from bench.lab import Lab
from bench.ours import Orchestrator, events_request
from bench.procs import memory_mib, peak_mib, reset_peak
from bench.stats import Paired
from bench.wire import Connection, Reply, request_bytes

EVENTS = 10_000


def measure(lab: Lab) -> list[Figure]:
    """Replay in turn; then look at the memory that a run ten times as long takes."""
    rounds, times = (3, 3) if lab.quick else (21, 5)
    folder = lab.folder / "replay"
    folder.mkdir()
    store = lab.child("fill", "-m", "bench.store", "--folder", str(folder))
    store.hear()
    run_id = store.ask({"do": "fill", "events": EVENTS})["run_id"]
    long_run_id = store.ask({"do": "fill", "events": 10 * EVENTS})["run_id"]
    store.kill()
    ours = lab.orchestrator("replay").start()
    body = _checked(ours, run_id)
    same = folder / "body"
    same.write_bytes(body)
    memory = lab.child("memory", "-m", "bench.anchors.memory", "--file", str(same))
    port = int(memory.hear()["port"])
    pair = Paired([], [])
    requests = events_request(run_id), request_bytes("GET", "/")
    seen = [
        (_time(ours.port, requests[0], times, body), _time(port, requests[1], times, body))
        for _ in range(rounds)
    ]
    pair = Paired([mine for mine, _ in seen], [other for _, other in seen])
    growth = _growth(ours, long_run_id)
    ours.stop()
    memory.kill()
    mine, other = pair.shown("ms")
    note = f"{len(body) / 1e6:.1f} MB"
    return [
        Figure("replay", pair.ratio, mine, other, pair.ratios, note, {"pair": pair}),
        Figure("replay_memory", growth, f"{growth:.3g} MiB", f"{len(body) * 10 / 2**20:.3g} MiB"),
    ]


def _checked(ours: Orchestrator, run_id: str) -> bytes:
    """Return the stream of a run after checking that it is whole."""
    with ours.connect() as api:
        reply = api.send(events_request(run_id))
    events = events_of(reply)
    check_order(events)
    if len(events) != EVENTS or events[-1].type != "run_done":
        raise WrongAnswerError(f"{len(events)} events, the last a {events[-1].type}")
    return reply.body


def _time(port: int, request: bytes, times: int, body: bytes) -> float:
    """Return the median milliseconds to the last byte, after checking every byte."""
    with Connection(port) as connection:
        replies = [connection.send(request) for _ in range(times)]
    if any(reply.body != body for reply in replies):
        raise WrongAnswerError("a replay gave other bytes than the first one")
    return median(_milliseconds(reply) for reply in replies)


def _milliseconds(reply: Reply) -> float:
    return (reply.ended_ns - reply.sent_ns) / 1e6


def _growth(ours: Orchestrator, run_id: str) -> float:
    """Return how many MiB the product takes on top while it replays a long run."""
    before = memory_mib(ours.pid)
    reset_peak(ours.pid)
    with ours.connect() as api:
        events = events_of(api.send(events_request(run_id)))
    check_order(events)
    if len(events) != 10 * EVENTS:
        raise WrongAnswerError(f"{len(events)} events of {10 * EVENTS}")
    return max(0.0, peak_mib(ours.pid) - before)
