"""The tools that every installation has."""

import random
from collections.abc import Callable
from datetime import datetime

import httpx2

from adapters.tools.calculator import calculator
from adapters.tools.chance import random_tool
from adapters.tools.clock import system_now, time_tool
from adapters.tools.decorator import FunctionTool
from adapters.tools.fetch import fetch_tool
from adapters.tools.spawn import spawn_run
from adapters.tools.text import text
from adapters.tools.weather import weather_tool


def builtin_tools(
    client: httpx2.AsyncClient,
    *,
    rng: random.Random | None = None,
    now: Callable[[], datetime] = system_now,
) -> list[FunctionTool]:
    """Return the built-in tools; `client` is a guarded one, since a model chooses its URLs."""
    return [
        calculator,
        time_tool(now),
        random_tool(rng),
        text,
        weather_tool(client),
        fetch_tool(client),
        spawn_run,
    ]
