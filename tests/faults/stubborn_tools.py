"""Tools that do not end by themselves for a long time, for `ORCHESTRATOR_TOOLS`."""

import signal
import time
from pathlib import Path

from adapters.tools.decorator import tool
from tests.rig.tools import sleep_deaf

TARGETS = tuple(f"{__name__}:{name}" for name in ("deaf_for_long", "blocked_for_long"))


@tool(timeout_seconds=60, attempts=1)
async def deaf_for_long(path: str, seconds: float) -> str:
    """Say at `path` that it runs, and swallow every cancellation for so long."""
    Path(path).write_text("runs")
    await sleep_deaf(seconds)
    return "late"


@tool(timeout_seconds=60, attempts=1)
def blocked_for_long(path: str) -> str:
    """Say at `path` that it runs, then block, deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(path).write_text("runs")
    while True:
        time.sleep(60)
