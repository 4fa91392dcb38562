"""What a bench run says: a table for people, JSON for whoever compares."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.bars import BY_NAME, Bar, Figure, Verdict
from bench.procs import ROOT

RESULTS = ROOT / "bench" / "results"
_HEADS = ("bar", "figure", "ours", "anchor", "must", "aim", "verdict")


def verdict_of(figure: Figure, bars: Mapping[str, Bar] = BY_NAME) -> Verdict:
    """Return what a figure means."""
    return bars[figure.bar].judge(figure.value)


def table(figures: Sequence[Figure], bars: Mapping[str, Bar] = BY_NAME) -> str:
    """Return the figures as a table, with what each bar is about and the notes below."""
    rows = [_HEADS, *(_row(figure, bars[figure.bar]) for figure in figures)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"{figure.bar}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _row(figure: Figure, bar: Bar) -> tuple[str, ...]:
    return (
        bar.name,
        _shown(figure.value, bar.unit),
        figure.ours,
        figure.anchor,
        _bound(bar, bar.must),
        _bound(bar, bar.aim),
        bar.judge(figure.value).value,
    )


def _shown(value: float, unit: str) -> str:
    if value != value:  # noqa: PLR0124 - not a number: it could not be measured
        return "none"
    number = f"{value:.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.3g}"
    return f"{number}x" if unit == "x" else f"{number} {unit}"


def _bound(bar: Bar, bound: float | None) -> str:
    return "" if bound is None else f"{bar.better.value} {bound:g}"


def save(figures: Sequence[Figure], *, quick: bool) -> Path:
    """Write the figures with everything behind them; return the file."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = RESULTS / f"{at}.json"
    content = {
        "at": at,
        "quick": quick,
        "commit": _commit(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg(),
        "figures": [
            asdict(figure) | {"what": BY_NAME[figure.bar].what, "verdict": verdict_of(figure)}
            for figure in figures
        ],
    }
    target.write_text(json.dumps(content, indent=1, default=str))
    return target


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()
