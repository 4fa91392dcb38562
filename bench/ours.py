"""The product as a user has it: its command as a process, told by environment, met over HTTP."""

import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.procs import Child, wait_for
from bench.wire import BrokenReplyError, Connection, Reply, request_bytes

STREAM = {"accept": "text/event-stream"}
_FOREIGN = re.compile(
    r"^(ORCHESTRATOR_(?!CACHE_DIR)|TEMPORAL_(?!CLI_PATH)|OPENAI_|ANTHROPIC_|OLLAMA_|DATABASE_URL|"
    r"HTTP_PORT|INGRESS_URL|AGENT_TIMEOUT_MS|LOG_LEVEL)"
)
"""Settings of whoever runs the bench; what is measured are the defaults."""


def default_command() -> list[str]:
    """Return the console script of this environment."""
    return [str(Path(sys.executable).with_name("orchestrator"))]


@dataclass
class Orchestrator:
    """One process of the product on a data folder; it can be killed and started again.

    Args:
        role: `up`, `api` or `worker`.
        data_dir: its data folder; `endpoints.json` appears there.
        model_url: the OpenAI base URL of the fake model server.
        more: further environment.
    """

    data_dir: Path
    model_url: str
    role: str = "up"
    command: Sequence[str] = field(default_factory=default_command)
    more: Mapping[str, str] = field(default_factory=dict)
    child: Child | None = None
    started: float = 0.0
    """When the process was started, `time.monotonic()`."""
    start_seconds: float = 0.0
    """From its start until `/readyz` said 200."""

    def start(self) -> "Orchestrator":
        """Start and wait until it is ready."""
        self.spawn()
        return self.wait_ready()

    def spawn(self) -> None:
        """Start the process."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._endpoints_file.unlink(missing_ok=True)
        self.started = time.monotonic()
        self.child = Child(
            [*self.command, self.role], self.data_dir / f"{self.role}.log", self._environment()
        )

    def wait_ready(self) -> "Orchestrator":
        """Wait until `/readyz` says 200 (a worker: until its endpoints are written)."""
        assert self.child is not None
        wait_for(f"orchestrator {self.role}", self._is_ready, self.child)
        self.start_seconds = time.monotonic() - self.started
        return self

    @property
    def pid(self) -> int:
        """The process id."""
        assert self.child is not None
        return self.child.pid

    @property
    def temporal(self) -> str:
        """The Temporal server's address."""
        return str(self._endpoints()["temporal"])

    @property
    def port(self) -> int:
        """The API's port."""
        return int(str(self._endpoints()["api"]).rpartition(":")[2])

    def connect(self) -> Connection:
        """Return a connection to the API."""
        return Connection(self.port)

    def stop(self) -> None:
        """Stop it the way a terminal does."""
        if self.child is not None:
            self.child.stop(20)

    def register(self, agent: Mapping[str, object]) -> None:
        """Make an agent, or leave the one that is there."""
        with self.connect() as api:
            reply = api.send(request_bytes("POST", "/v1/agents", agent))
        if reply.status not in (201, 409):
            raise BrokenReplyError(f"agent refused: {reply.status} {reply.body[:500].decode()}")

    def ask(self, method: str, target: str, body: object = None) -> Any:  # noqa: ANN401
        """Return the JSON of an answer."""
        with self.connect() as api:
            return api.ask(method, target, body)

    @property
    def _endpoints_file(self) -> Path:
        return self.data_dir / "endpoints.json"

    def _endpoints(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._endpoints_file.read_text())
        return found

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError, ValueError, BrokenReplyError):
            if self._endpoints()["pid"] != self.pid:
                return False
            if self.role == "worker":
                return True
            with self.connect() as api:
                return api.send(request_bytes("GET", "/readyz")).status == 200
        return False

    def _environment(self) -> dict[str, str]:
        mine = {name: value for name, value in os.environ.items() if not _FOREIGN.match(name)}
        return mine | {
            "ORCHESTRATOR_DATA_DIR": str(self.data_dir),
            "ORCHESTRATOR_PORT": "0",
            "ORCHESTRATOR_TEMPORAL_PORT": "0",
            "ORCHESTRATOR_TEMPORAL_UI_PORT": "0",
            "OPENAI_BASE_URL": self.model_url,
            "OPENAI_API_KEY": "x",
            "PYTHONUNBUFFERED": "1",
            **self.more,
        }


def agent(
    agent_id: str = "bench", *, model: str = "openai/fake", tools: Sequence[str] = ()
) -> dict[str, object]:
    """Return the body of an agent that calls the fake model, without caps that matter here."""
    return {
        "agent_id": agent_id,
        "name": agent_id,
        "description": "answers what the bench asks",
        "models": [model],
        "tools": list(tools),
        "limits": {"max_turns": 10_000, "max_tool_calls": 100_000},
    }


def start_request(prompt: str, agent_id: str = "bench") -> bytes:
    """Return the request that starts a run and streams its events."""
    return request_bytes("POST", "/v1/runs", {"input": prompt, "agent_id": agent_id}, STREAM)


def events_request(run_id: str, after: int = 0) -> bytes:
    """Return the request of a run's events from `after` on."""
    return request_bytes("GET", f"/v1/runs/{run_id}/events?after_seq={after}", None, STREAM)


def run_id_of(reply: Reply) -> str:
    """Return the run that an answer to a start is about."""
    return reply.headers["location"].rpartition("/")[2]
