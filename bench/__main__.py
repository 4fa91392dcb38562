"""`python -m bench`: measure every bar against its anchor; exit 1 when a must fails."""

import argparse
import math
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Sequence

from bench.bars import BARS, Figure, Verdict
from bench.lab import Lab
from bench.measures import (
    cancel,
    eventlog,
    fanout,
    growth,
    history,
    idle,
    latency,
    lateness,
    load,
    parked,
    proxy,
    recovery,
    replay,
    startup,
    tree,
    workers,
)
from bench.ours import default_command
from bench.report import save, table, verdict_of

Measure = Callable[[Lab], list[Figure]]

MEASURES: tuple[tuple[Measure, tuple[str, ...]], ...] = (
    # First, because the product then holds nothing but what it needs.
    (idle.measure, ("idle_cpu", "idle_memory")),
    (latency.measure, ("first_token", "whole_run", "cpu_single")),
    (load.measure, ("throughput", "cpu")),
    (lateness.measure, ("lateness", "lateness_p50")),
    (proxy.measure, ("proxy_cpu", "proxy_cpu_paced", "proxy_first")),
    (cancel.measure, ("cancel",)),
    (parked.measure, ("parked_memory", "parked_cpu", "decide")),
    (cancel.measure_apart, ("cancel_apart",)),
    (tree.measure, ("cancel_tree",)),
    (history.measure, ("history", "history_turn")),
    (growth.measure, ("growth_history", "growth_store", "growth_time")),
    (fanout.measure, ("fanout",)),
    (fanout.measure_500, ("fanout_500",)),
    (recovery.measure, ("recovery", "recovery_lost", "recovery_repeated", "viewer")),
    (workers.measure, ("worker_kill", "viewer")),
    (eventlog.measure, ("event_log",)),
    (replay.measure, ("replay", "replay_memory")),
    (startup.measure_startup, ("startup",)),
    (startup.measure_help, ("help",)),
)
"""Each measure with the bars that it gives, in the order they run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; return the exit code."""
    given = _parse(arguments)
    if given.list:
        for bar in BARS:
            print(f"{bar.name:20} {bar.what}")
        return 0
    only = _only(given.only)
    _warn_if_busy()
    figures: list[Figure] = []
    with Lab(quick=given.quick, command=given.command) as lab:
        for measure, bars in MEASURES:
            if only is None or only.intersection(bars):
                figures += _run(measure, bars, lab)
    shown = [figure for figure in figures if only is None or figure.bar in only]
    print(f"\n{table(shown)}\n\n{save(figures, quick=given.quick)}")
    failed = [figure.bar for figure in shown if verdict_of(figure) is Verdict.FAIL]
    print(f"must failed: {', '.join(failed)}" if failed else "every must is kept")
    return 1 if failed else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", metavar="NAME[,NAME]", help="bars to measure")
    parser.add_argument("--quick", action="store_true", help="short rounds, rough figures")
    parser.add_argument("--list", action="store_true", help="name the bars")
    parser.add_argument(
        "--command",
        type=shlex.split,
        default=default_command(),
        help="the orchestrator command to measure",
    )
    return parser.parse_args(arguments)


def _only(names: str | None) -> set[str] | None:
    if names is None:
        return None
    wanted = set(names.split(","))
    unknown = wanted - {bar.name for bar in BARS}
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; --list names the bars")
    return wanted


def _warn_if_busy() -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        print(f"the machine is busy (load {load:.1f} on {cores} cores): only ratios mean something")


def _run(measure: Measure, bars: Sequence[str], lab: Lab) -> list[Figure]:
    """Run one measure; whatever goes wrong fails its bars and leaves the others alone."""
    print(f"... {', '.join(bars)}", end=" ", flush=True)
    started = time.monotonic()
    try:
        figures = measure(lab)
    except Exception as error:  # noqa: BLE001 - reported as the bars' failure
        traceback.print_exc()
        note = f"not measured: {type(error).__name__}: {error}"
        figures = [Figure(bar, math.nan, note=note) for bar in bars]
    print(f"{time.monotonic() - started:.0f} s", flush=True)
    return figures


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
