"""The bars: what is promised, how it is judged, and what a measure gives back.

`must` ships, `aim` is where we want to be. Knows nothing of how anything is measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Better(StrEnum):
    """Which way a figure should go."""

    LOW = "<="
    HIGH = ">="
    EXACT = "=="


class Verdict(StrEnum):
    """What a figure means for its bar."""

    AIM = "aim"
    MUST = "must"
    SHORT = "short"
    """Short of an aim where nothing must be."""
    FAIL = "FAIL"
    INFO = "-"
    """Nothing is promised; the figure is shown."""


class WrongAnswerError(Exception):
    """What was measured gave a wrong answer: its figure counts for nothing."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise. `unit` is `x` where the figure is a ratio to the anchor of the same run."""

    name: str
    what: str
    unit: str
    must: float | None = None
    aim: float | None = None
    better: Better = Better.LOW

    def meets(self, value: float, bound: float | None) -> bool:
        """Whether a figure keeps a bound; no bound is always kept."""
        if bound is None:
            return True
        if self.better is Better.EXACT:
            return value == bound
        return value <= bound if self.better is Better.LOW else value >= bound

    def judge(self, value: float) -> Verdict:
        """Return what `value` means."""
        if self.must is None and self.aim is None:
            return Verdict.INFO
        if not self.meets(value, self.must):
            return Verdict.FAIL
        has_aim = self.aim is not None or self.better is Better.EXACT
        if has_aim and self.meets(value, self.aim):
            return Verdict.AIM
        return Verdict.SHORT if self.must is None else Verdict.MUST


@dataclass(frozen=True, slots=True)
class Figure:
    """What came out for one bar. `value` is judged; `rounds` are the values it is the median of."""

    bar: str
    value: float
    ours: str = ""
    anchor: str = ""
    rounds: Sequence[float] = ()
    note: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)


BARS: tuple[Bar, ...] = (
    Bar("first_token", "first token of a run, p50 against llm1", "x", 1.6, 1.25),
    Bar("whole_run", "whole run, one model call, 50 tokens, p50 against llm1", "x", 1.6, 1.25),
    Bar("throughput", "runs/s at 32 in flight against llm1", "x", 0.6, 0.85, Better.HIGH),
    Bar("cpu", "CPU per run at 32 in flight against llm1's worker", "x", 2.0, 1.2),
    Bar("cpu_single", "CPU per run, one at a time, against llm1's worker", "x"),
    Bar("lateness", "token lateness at 50 tokens/s, p99", "ms", 25.0, None),
    Bar("lateness_p50", "token lateness at 50 tokens/s, p50 against a direct call", "x", None, 3.0),
    Bar("proxy_cpu", "CPU of a passed-through stream of 50 tokens", "ms", 12.0, 4.0),
    Bar("proxy_cpu_paced", "the same, a token every 5 ms", "ms"),
    Bar("proxy_first", "time to first token that a passed-through stream adds", "ms", 5.0, 1.5),
    Bar("history", "history events of one model call", "events", 12, None, Better.EXACT),
    Bar(
        "history_turn",
        "history events of a further turn with a tool",
        "events",
        12,
        None,
        Better.EXACT,
    ),
    Bar("growth_history", "history bytes a turn, turns 400-600 against 1-200", "x", 1.1),
    Bar("growth_store", "our bytes a turn, turns 400-600 against 1-200", "x", 1.1),
    Bar("growth_time", "time a turn, turns 400-600 against 1-200", "x"),
    Bar("recovery", "kill -9 of everything: time beyond model and start-up", "s", 1.5, 0.5),
    Bar("recovery_lost", "runs lost by it", "runs", 0, None, Better.EXACT),
    Bar("recovery_repeated", "completed steps repeated by it", "steps", 0, None, Better.EXACT),
    Bar("worker_kill", "kill -9 of one of two workers: until the next token", "s", 4.0, 1.5),
    Bar(
        "viewer",
        "events missed, doubled or out of order for viewers of the kills",
        "events",
        0,
        None,
        Better.EXACT,
    ),
    Bar(
        "parked_memory",
        "1,000 runs that wait for people: our memory each, beyond the first 100",
        "KiB",
        30.0,
        4.0,
    ),
    Bar("parked_cpu", "1,000 runs that wait for people: our CPU", "%", 1.0),
    Bar("decide", "decision -> tool starts, evicted run, p50 against bare Temporal", "x", 2.0, 1.3),
    Bar("fanout", "100 runs of 2 deltas/s, 10 viewers each: latest token", "ms", 1000.0),
    Bar("fanout_500", "500 runs of 2 deltas/s, 10 viewers each: latest token", "ms", None, 1000.0),
    Bar(
        "event_log",
        "durable appends/s in tens, 8 tasks, against raw sqlite3",
        "x",
        0.4,
        0.7,
        Better.HIGH,
    ),
    Bar("replay", "replay of 10,000 events against the same bytes from memory", "x", 10.0, 2.0),
    Bar("replay_memory", "memory that a replay of ten times as much takes on top", "MiB", 16.0),
    Bar(
        "startup", "`orchestrator up` to ready, warm, against server start + imports", "x", 1.5, 1.1
    ),
    Bar("help", "`orchestrator --help`", "s", 0.4),
    Bar("idle_cpu", "idle: CPU of our process", "% of a core", 2.0, 0.5),
    Bar("idle_memory", "idle: memory of our process", "MiB", 160.0, 110.0),
    Bar("cancel", "cancel asked to socket closed at the model, p95", "ms", 200.0, 50.0),
    Bar(
        "cancel_apart",
        "the same with API and worker apart, p95",
        "ms",
        1500.0,
        500.0,
    ),
    Bar("cancel_tree", "cancel of a tree of 20 runs: all is stopped and final", "s", 5.0, 1.0),
)
"""Source: the bars of the first issue; reference/performance.md 3."""

BY_NAME: Mapping[str, Bar] = {bar.name: bar for bar in BARS}
