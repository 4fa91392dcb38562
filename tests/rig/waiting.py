"""Waiting for other processes: until a condition holds, or for an API that is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2

PATIENCE_SECONDS = 100.0
"""The longest a test waits for anything that has no bound of its own."""
POLL_SECONDS = 0.01
_LONGEST_POLL_SECONDS = 0.1
AWAY = (httpx2.TransportError, OSError)


async def until(
    what: str, is_true: Callable[[], Awaitable[bool] | bool], seconds: float = PATIENCE_SECONDS
) -> float:
    """Poll a condition of another process; return how long it took."""
    started = time.monotonic()
    while True:
        answer = is_true()
        if answer if isinstance(answer, bool) else await answer:
            return time.monotonic() - started
        if time.monotonic() - started > seconds:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(_pause(time.monotonic() - started))


async def gone(pid: int) -> None:
    """Wait until a process, which may be nobody's child any more, has ended."""

    def is_gone() -> bool:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (ProcessLookupError, FileNotFoundError):
            return True
        return stat.rpartition(")")[2].split()[0] == "Z"

    await until(f"process {pid} has ended", is_gone, 10)


def _pause(waited: float) -> float:
    """Return how long to wait for the next look: one a hundredth of a second keeps a core busy."""
    return min(max(waited / 10, POLL_SECONDS), _LONGEST_POLL_SECONDS)
