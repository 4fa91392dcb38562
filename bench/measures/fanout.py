"""Many slow runs with ten viewers each on one process: all complete, none late."""

import asyncio
from collections.abc import Sequence

from bench.bars import Figure, WrongAnswerError
from bench.events import Expected, check_run, events_of, lateness_ns
from bench.lab import Lab
from bench.ours import Orchestrator, agent, events_request
from bench.procs import memory_mib
from bench.stats import percentile
from bench.stream import AsyncConnection
from bench.wire import Reply, request_bytes

VIEWERS = 10
GAP_MS = 500


def measure(lab: Lab) -> list[Figure]:
    """100 runs of 2 deltas a second."""
    runs, tokens = (20, 6) if lab.quick else (100, 20)
    return [_figure(lab, lab.ours, "fanout", runs, tokens)]


def measure_500(lab: Lab) -> list[Figure]:
    """500 runs on a process with as many slots."""
    if lab.quick:
        return []
    ours = lab.orchestrator("fanout", ORCHESTRATOR_WORKER_SLOTS="600").start()
    ours.register(agent())
    figure = _figure(lab, ours, "fanout_500", 500, 20)
    ours.stop()
    return [figure]


def _figure(lab: Lab, ours: Orchestrator, bar: str, runs: int, tokens: int) -> Figure:
    lab.fake.reset()
    before = memory_mib(ours.pid)
    replies = asyncio.run(_watch_all(ours.port, runs, tokens))
    late = _lateness_ms(replies, tokens)
    lab.fake.expect_calls(runs)
    if len(late) != runs * VIEWERS * tokens:
        raise WrongAnswerError(f"{len(late)} of {runs * VIEWERS * tokens} tokens were seen")
    streams = runs * VIEWERS
    grown = (memory_mib(ours.pid) - before) * 1024 / streams
    note = (
        f"{runs} runs, {streams} viewers, {len(late)} tokens: p50 {percentile(late, 0.5):.3g} ms,"
        f" p99 {percentile(late, 0.99):.3g} ms; {grown:.0f} KiB a viewer"
    )
    return Figure(bar, max(late), f"{max(late):.0f} ms", note=note)


def _lateness_ms(replies: Sequence[Reply], tokens: int) -> list[float]:
    late: list[float] = []
    for reply in replies:
        events = events_of(reply)
        check_run(events, Expected(tokens))
        late += [ns / 1e6 for ns in lateness_ns(events)]
    return late


async def _watch_all(port: int, runs: int, tokens: int) -> list[Reply]:
    """Start the runs, then watch each with ten viewers to its end."""
    prompt = f"[[tokens={tokens} first_ms=3000 gap_ms={GAP_MS} clock]]"
    request = request_bytes("POST", "/v1/runs", {"input": prompt, "agent_id": "bench"})
    starter = await AsyncConnection.open(port)
    watching: list[asyncio.Task[Reply]] = []
    for _ in range(runs):
        run_id = (await starter.send(request)).json()["run_id"]
        watching += [asyncio.create_task(_watch(port, run_id)) for _ in range(VIEWERS)]
    starter.close()
    return list(await asyncio.gather(*watching))


async def _watch(port: int, run_id: str) -> Reply:
    connection = await AsyncConnection.open(port)
    reply = await connection.send(events_request(run_id))
    connection.close()
    return reply
