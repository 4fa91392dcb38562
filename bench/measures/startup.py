"""From the command to ready on a warm machine, and how long `--help` takes."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from bench.bars import Figure
from bench.lab import Lab
from bench.procs import ROOT, Child, ProcessFailedError
from bench.stats import Paired

IMPORTS = "import temporalio, fastapi, uvicorn"


def measure_startup(lab: Lab) -> list[Figure]:
    """Start the product, then the dev server alone and the imports alone, in turn."""
    rounds = 3 if lab.quick else 7
    ours = lab.orchestrator("startup")
    ours.start().stop()
    server = lab.child(
        "server", "-m", "bench.anchors.devserver", "--data-file", str(lab.folder / "alone.db")
    )
    server.hear()
    mine, anchor = [], []
    for _ in range(rounds):
        mine.append(ours.start().start_seconds)
        ours.stop()
        anchor.append(server.ask({"do": "time"})["seconds"] + _imports(lab.folder))
    server.kill()
    pair = Paired(mine, anchor)
    shown, other = pair.shown("s")
    return [Figure("startup", pair.ratio, shown, other, pair.ratios, "", {"pair": pair})]


def measure_help(lab: Lab) -> list[Figure]:
    """Ask for the help, with everything in the page cache."""
    seconds = [_time([*lab.command, "--help"]) for _ in range(4 if lab.quick else 10)][1:]
    value = median(seconds)
    return [Figure("help", value, f"{value:.3g} s", rounds=seconds)]


def _imports(folder: Path) -> float:
    """Return the seconds that a process with the imports alone takes."""
    started = time.monotonic()
    child = Child([sys.executable, "-c", IMPORTS], folder / "imports.log")
    while child.is_running:
        time.sleep(0.001)
    return time.monotonic() - started


def _time(command: Sequence[str]) -> float:
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    if done.returncode or b"Usage" not in done.stdout:
        raise ProcessFailedError(f"no help: {done.stderr[-500:].decode()}")
    return time.monotonic() - started
