"""A tool that never ends by itself, and leaves a mark at the moment it was stopped."""

import asyncio
import time
from pathlib import Path

from adapters.tools.decorator import tool


@tool(timeout_seconds=300)
async def wait_for_cancel(path: str) -> str:
    """Wait until somebody stops this."""
    place = Path(path)
    place.write_text("")
    try:
        await asyncio.Event().wait()
    finally:
        place.write_text(str(time.monotonic_ns()))
    return "never"
