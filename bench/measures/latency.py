"""First token and whole run, one at a time, and what one run costs in CPU."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.bars import Figure
from bench.events import Expected, check_run, events_of, first_delta_ns, tokens_text
from bench.lab import Lab
from bench.ours import start_request
from bench.procs import cpu_seconds
from bench.stats import Paired, percentile
from bench.wire import Connection, Reply

TOKENS = 50
PROMPT = f"[[tokens={TOKENS}]] hello"
PAUSE_SECONDS = 0.03
"""Between two runs: what a run does after its viewer saw the end is over, for both sides."""


@dataclass
class Block:
    """Runs in a row: milliseconds, and CPU milliseconds per run."""

    first_ms: Sequence[float]
    total_ms: Sequence[float]
    cpu_ms: float = 0.0


@dataclass
class _Rounds:
    ours: list[Block] = field(default_factory=list)
    anchor: list[Block] = field(default_factory=list)

    def pair(self, of: str, share: float = 0.5) -> Paired:
        """Return a percentile of each block, ours and the anchor's."""
        return Paired(
            [percentile(getattr(block, of), share) for block in self.ours],
            [percentile(getattr(block, of), share) for block in self.anchor],
        )


def measure(lab: Lab) -> list[Figure]:
    """Measure blocks of runs in turn."""
    runs, rounds = (10, 5) if lab.quick else (12, 25)
    ours_block(lab, 10)
    anchor_block(lab, 10)
    seen = _Rounds()
    for _ in range(rounds):
        seen.ours.append(ours_block(lab, runs))
        seen.anchor.append(anchor_block(lab, runs))
    first, total = seen.pair("first_ms"), seen.pair("total_ms")
    cpu = Paired([block.cpu_ms for block in seen.ours], [block.cpu_ms for block in seen.anchor])
    late_first, late_total = seen.pair("first_ms", 0.95), seen.pair("total_ms", 0.95)
    return [
        _figure("first_token", first, f"p95 {median(late_first.ours):.3g} ms"),
        _figure("whole_run", total, f"p95 {median(late_total.ours):.3g} ms"),
        _figure("cpu_single", cpu, ""),
    ]


def _figure(bar: str, pair: Paired, note: str) -> Figure:
    ours, anchor = pair.shown("ms")
    return Figure(bar, pair.ratio, ours, anchor, pair.ratios, note, {"pair": pair})


def ours_block(lab: Lab, runs: int) -> Block:
    """Start runs one after the other over one connection, and check each."""
    lab.fake.reset()
    request = start_request(PROMPT)
    before = cpu_seconds(lab.ours.pid)
    with lab.ours.connect() as api:
        replies = [_after_pause(api, request) for _ in range(runs)]
    cpu_ms = (cpu_seconds(lab.ours.pid) - before) * 1000 / runs
    firsts, totals = [], []
    for reply in replies:
        events = events_of(reply)
        check_run(events, Expected(TOKENS))
        firsts.append((first_delta_ns(events) - reply.sent_ns) / 1e6)
        totals.append((events[-1].at_ns - reply.sent_ns) / 1e6)
    lab.fake.expect_calls(runs)
    return Block(firsts, totals, cpu_ms)


def _after_pause(api: Connection, request: bytes) -> Reply:
    time.sleep(PAUSE_SECONDS)
    return api.send(request)


def anchor_block(lab: Lab, runs: int) -> Block:
    """Run bare workflows one after the other; the anchor checks each."""
    lab.fake.reset()
    before = cpu_seconds(lab.llm1.pid)
    order = {"do": "sequence", "runs": runs, "prompt": PROMPT, "pause": PAUSE_SECONDS}
    done = lab.llm1.ask(order | {"answer": tokens_text(TOKENS)})
    cpu_ms = (cpu_seconds(lab.llm1.pid) - before) * 1000 / runs
    lab.fake.expect_calls(runs)
    return Block(done["first_ms"], done["total_ms"], cpu_ms)
