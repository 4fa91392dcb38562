"""What the product takes while nobody asks for anything."""

import time

from bench.bars import Figure
from bench.lab import Lab
from bench.measures.latency import ours_block
from bench.procs import cpu_seconds, memory_mib

_SETTLE_SECONDS = 3.0


def measure(lab: Lab) -> list[Figure]:
    """Do some runs, so that what is loaded late is loaded; then leave it alone.

    The process is one that found its database as it should be, as all but the very first do.
    """
    seconds = 8.0 if lab.quick else 45.0
    ours_block(lab, 20)
    time.sleep(_SETTLE_SECONDS)
    first = memory_mib(lab.ours.pid)
    lab.ours.stop()
    lab.ours.start()
    ours_block(lab, 20)
    pid = lab.ours.pid
    time.sleep(_SETTLE_SECONDS)
    before, started = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    share = 100 * (cpu_seconds(pid) - before) / (time.monotonic() - started)
    memory = memory_mib(pid)
    return [
        Figure("idle_cpu", share, f"{share:.2g} %", note=f"over {seconds:.0f} s after 20 runs"),
        Figure(
            "idle_memory",
            memory,
            f"{memory:.0f} MiB",
            note=f"after 20 runs; the process that made its database {first:.0f} MiB",
        ),
    ]
