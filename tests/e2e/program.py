"""The program as people start it: what its processes are told, and a run slow enough to meet."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bootstrap.children import Serving
from bootstrap.commands.api import Api

PROGRAM = [sys.executable, "-P", "-m", "bootstrap.cli"]
FOREIGN = ("TEMPORAL_", "ORCHESTRATOR_", "OPENAI_", "ANTHROPIC_", "OLLAMA_", "DATABASE_")
SLOW = {"agent_id": "slow", "name": "Slow", "models": ["offline/script"]}

Run = Callable[..., subprocess.CompletedProcess[str]]


def settings_for(folder: Path, **extra: str) -> dict[str, str | None]:
    """Return what a process of ours is told: nothing of this machine's settings, and a folder."""
    cache = os.environ.get("ORCHESTRATOR_CACHE_DIR")
    foreign: dict[str, str | None] = {name: None for name in os.environ if name.startswith(FOREIGN)}
    return {
        **foreign,
        "ORCHESTRATOR_CACHE_DIR": cache,
        "ORCHESTRATOR_DATA_DIR": str(folder / "data"),
        "ORCHESTRATOR_PORT": "0",
        "ORCHESTRATOR_TEMPORAL_PORT": "0",
        "ORCHESTRATOR_TEMPORAL_UI_PORT": "0",
        "ORCHESTRATOR_LOG_FORMAT": "json",
        **extra,
    }


def environment(folder: Path, **extra: str) -> dict[str, str]:
    merged = {**os.environ, **settings_for(folder, **extra)}
    return {name: value for name, value in merged.items() if value is not None}


def register_slow(serving: Serving) -> None:
    with Api(str(serving.api)) as api:
        api.call("POST", "/v1/agents", body=SLOW)


def wait_for_deltas(url: str, count: int) -> None:
    """Watch the newest run until it has streamed that much."""
    with Api(url) as api:
        while not (runs := api.call("GET", "/v1/runs")["runs"]):
            time.sleep(0.02)
        path = f"/v1/runs/{runs[0]['run_id']}/events"
        with api.stream("GET", path, headers={}) as stream:
            seen = b""
            for chunk in stream.iter_bytes():
                seen += chunk
                if seen.count(b"event: agent_stream_delta") >= count:
                    return
