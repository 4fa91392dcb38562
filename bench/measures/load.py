"""Runs a second with 32 in flight, and the CPU that each costs."""

import asyncio
import time
from dataclasses import dataclass
from statistics import median

from bench.bars import Figure, WrongAnswerError
from bench.events import Expected, check_run, events_of, tokens_text
from bench.lab import Lab
from bench.measures.latency import PROMPT, TOKENS
from bench.ours import start_request
from bench.procs import cpu_seconds
from bench.stats import Paired, percentile
from bench.stream import AsyncConnection
from bench.wire import Reply

IN_FLIGHT = 32


@dataclass(frozen=True, slots=True)
class Slice:
    """Some seconds under load."""

    runs: int
    seconds: float
    cpu_ms: float
    """CPU milliseconds per run."""
    total_ms: list[float]

    @property
    def rate(self) -> float:
        """Return runs per second."""
        return self.runs / self.seconds


def measure(lab: Lab) -> list[Figure]:
    """Load both in turn."""
    seconds, rounds = (2.0, 3) if lab.quick else (5.0, 6)
    ours_slice(lab, 1.0)
    anchor_slice(lab, 1.0)
    ours, anchor = [], []
    for _ in range(rounds):
        ours.append(ours_slice(lab, seconds))
        anchor.append(anchor_slice(lab, seconds))
    rate = Paired([part.rate for part in ours], [part.rate for part in anchor])
    cpu = Paired([part.cpu_ms for part in ours], [part.cpu_ms for part in anchor])
    mine, other = rate.shown("runs/s")
    mine_cpu, other_cpu = cpu.shown("ms")
    slow = median(percentile(part.total_ms, 0.99) for part in ours)
    slow_anchor = median(percentile(part.total_ms, 0.99) for part in anchor)
    note = (
        f"{sum(part.runs for part in ours)} runs, none lost or wrong; p99 of a run"
        f" {slow:.0f} ms, the anchor's {slow_anchor:.0f} ms"
    )
    return [
        Figure("throughput", rate.ratio, mine, other, rate.ratios, note, {"pair": rate}),
        Figure("cpu", cpu.ratio, mine_cpu, other_cpu, cpu.ratios, "", {"pair": cpu}),
    ]


def ours_slice(lab: Lab, seconds: float) -> Slice:
    """Keep runs in flight for some seconds, finish them, then check every one."""
    lab.fake.reset()
    before = cpu_seconds(lab.ours.pid)
    replies, took = asyncio.run(_keep_in_flight(lab.ours.port, seconds))
    cpu_ms = (cpu_seconds(lab.ours.pid) - before) * 1000 / len(replies)
    for reply in replies:
        check_run(events_of(reply), Expected(TOKENS))
    if len({reply.headers["location"] for reply in replies}) != len(replies):
        raise WrongAnswerError("two starts were answered with one run")
    lab.fake.expect_calls(len(replies))
    totals = [(reply.ended_ns - reply.sent_ns) / 1e6 for reply in replies]
    return Slice(len(replies), took, cpu_ms, totals)


async def _keep_in_flight(port: int, seconds: float) -> tuple[list[Reply], float]:
    request = start_request(PROMPT)
    replies: list[Reply] = []
    connections = [await AsyncConnection.open(port) for _ in range(IN_FLIGHT)]
    started = time.monotonic()

    async def keep_one(connection: AsyncConnection) -> None:
        while time.monotonic() < started + seconds:
            replies.append(await connection.send(request))

    await asyncio.gather(*map(keep_one, connections))
    took = time.monotonic() - started
    for connection in connections:
        connection.close()
    return replies, took


def anchor_slice(lab: Lab, seconds: float) -> Slice:
    """Keep bare workflows in flight for some seconds."""
    lab.fake.reset()
    before = cpu_seconds(lab.llm1.pid)
    order = {"do": "load", "seconds": seconds, "in_flight": IN_FLIGHT, "prompt": PROMPT}
    done = lab.llm1.ask(order | {"answer": tokens_text(TOKENS)})
    runs = len(done["total_ms"])
    cpu_ms = (cpu_seconds(lab.llm1.pid) - before) * 1000 / runs
    lab.fake.expect_calls(runs)
    return Slice(runs, done["seconds"], cpu_ms, done["total_ms"])
