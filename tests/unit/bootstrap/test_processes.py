"""`up`, `api` and `worker` hand their options on, say when they serve, and return the code."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bootstrap import supervisor
from bootstrap.commands.processes import banner
from bootstrap.logs import telemetry
from bootstrap.supervisor import Endpoints
from tests.unit.bootstrap.conftest import Command

READY = Endpoints(
    api="http://127.0.0.1:8080",
    temporal="127.0.0.1:7233",
    temporal_ui="http://127.0.0.1:8233",
    data_dir="data",
    pid=7,
    providers=("offline",),
    version="0.1.0",
)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would have been served, without serving it."""
    calls: list[dict[str, Any]] = []

    async def serve(
        roles: frozenset[str],
        settings: Any,
        on_ready: Callable[[Endpoints], None],
        *,
        restart_unfinished: bool = False,
    ) -> int:
        calls.append({"roles": roles, "settings": settings, "restart": restart_unfinished})
        on_ready(READY)
        return 3

    monkeypatch.setattr(supervisor, "serve", serve)
    monkeypatch.setattr(telemetry, "configure_logging", lambda _settings: None)
    return calls


def test_up_serves_both_roles_and_shows_where(
    command: Command, served: list[dict[str, Any]], tmp_path: Path
) -> None:
    said = command("up", "--port", "0", "--data-dir", str(tmp_path), "--restart-unfinished")

    (call,) = served
    assert said.code == 3
    assert (call["roles"], call["restart"]) == ({"api", "worker"}, True)
    assert (call["settings"].port, call["settings"].data_dir) == (0, tmp_path)
    for fact in ("http://127.0.0.1:8080/docs", "http://127.0.0.1:8233", "Ctrl-C stops", "offline"):
        assert fact in said.out


def test_with_json_one_line_says_where(command: Command, served: list[dict[str, Any]]) -> None:
    said = command("api", "--host", "127.0.0.2", "--json")

    assert served[0]["roles"] == {"api"}
    assert served[0]["settings"].host == "127.0.0.2"
    assert json.loads(said.out) == {
        **{name: getattr(READY, name) for name in ("api", "temporal", "temporal_ui", "data_dir")},
        "pid": 7,
        "providers": ["offline"],
        "version": "0.1.0",
    }
    assert said.out.count("\n") == 1


def test_a_worker_has_a_queue_and_slots(command: Command, served: list[dict[str, Any]]) -> None:
    command("worker", "--queue", "q", "--concurrency", "5", "--json")

    settings = served[0]["settings"]
    assert served[0]["roles"] == {"worker"}
    assert (settings.task_queue, settings.worker_slots) == ("q", 5)


def test_the_banner_names_what_is_configured() -> None:
    worker = replace(READY, api=None, temporal_ui=None, providers=("openai", "offline"))

    text = banner(worker, ["worker"], 1.2)

    assert text.startswith("orchestrator worker 0.1.0 is ready (1.2 s)")
    assert "openai, offline" in text
    assert "API" not in text.replace("ANTHROPIC_API_KEY", "")


def test_what_the_banner_says_to_try_can_be_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By its name only where a shell finds it; else by its path, short from where one stands."""
    beside = tmp_path / "house" / ".venv" / "bin" / "orchestrator"
    beside.parent.mkdir(parents=True)
    beside.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(beside.with_name("python")))
    monkeypatch.setenv("PATH", str(tmp_path))
    said = []
    for place in (tmp_path / "house", tmp_path / "house" / ".venv" / "bin" / ".."):
        monkeypatch.chdir(place)
        said.append(banner(READY, ["up"], 1.0))
    monkeypatch.chdir("/")
    monkeypatch.setenv("PATH", str(beside.parent))

    assert ' .venv/bin/orchestrator run "What is 6 * 7?"' in said[0]
    assert ' bin/orchestrator run "What is 6 * 7?"' in said[1].replace("  ", " ")
    assert ' orchestrator run "What is 6 * 7?"' in banner(READY, ["up"], 1.0)
