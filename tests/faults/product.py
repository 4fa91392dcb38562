"""`orchestrator up` as a process, the stub provider beside it, and a client of its API."""

import asyncio
import json
import sqlite3
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2
from temporalio.client import Client

from adapters.llm.sse import SseParser
from adapters.net.loopback import verify_for
from adapters.temporal import workflow_id
from tests.faults.books import read_books, sqlite_integrity
from tests.faults.check import check, engine_faults
from tests.faults.store_rules import store_faults
from tests.rig.child import Child, wait_until
from tests.rig.forked import ForkedChild
from tests.rig.waiting import until

PATIENCE_SECONDS = 60.0
"""The longest a test waits for anything; nothing takes this long."""
READY_SECONDS = 60.0
TERMINAL = frozenset({"run_done", "run_failed", "run_cancelled"})
Json = dict[str, Any]


class StubProcess:
    """The model provider of the tests, as a process."""

    def __init__(self, folder: Path) -> None:
        log = folder / "provider.log"
        command = [sys.executable, "-m", "tests.stub.provider", "--port", "0"]
        self.child = Child("provider", command, log)
        wait_until("the stub provider says its port", lambda: _line(log) != "", 30, self.child)
        self.url = str(json.loads(_line(log))["url"])

    def client(self) -> httpx2.AsyncClient:
        """Return a client of the stub itself."""
        return httpx2.AsyncClient(base_url=self.url, trust_env=False, verify=verify_for(self.url))

    def close(self) -> None:
        self.child.close()


def _line(log: Path) -> str:
    head, end, _ = log.read_text().partition("\n") if log.exists() else ("", "", "")
    return head if end else ""


class Product:
    """The whole product on free ports; killed and started again on the same data folder."""

    def __init__(self, folder: Path, **settings: object) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.data = folder / "data"
        defaults: dict[str, object] = {
            "ORCHESTRATOR_DATA_DIR": self.data,
            "ORCHESTRATOR_PORT": 0,
            "ORCHESTRATOR_TEMPORAL_PORT": 0,
            "ORCHESTRATOR_TEMPORAL_UI_PORT": 0,
            "ORCHESTRATOR_LOG_FORMAT": "json",
        }
        named = {f"ORCHESTRATOR_{n}" if n.islower() else n: v for n, v in settings.items()}
        self._settings = {n.upper(): str(v) for n, v in {**defaults, **named}.items()}
        self._child: Child | None = None
        self.endpoints: Json = {}

    @property
    def child(self) -> Child:
        assert self._child is not None, "start() comes first"
        return self._child

    @property
    def url(self) -> str:
        return str(self.endpoints["api"])

    @property
    def store(self) -> Path:
        return Path(self._settings.get("DATABASE_URL", self.data / "orchestrator.db"))

    def start(self) -> Self:
        """Start, and wait until it serves."""
        log = self.folder / "up.log"
        self._child = ForkedChild("orchestrator", ["up"], log, self._settings)
        wait_until("the product serves", self._is_ready, READY_SECONDS, self._child)
        return self

    def close(self) -> None:
        if self._child is not None:
            self._child.close()

    def _is_ready(self) -> bool:
        file = self.data / "endpoints.json"
        if not file.exists():
            return False
        self.endpoints = json.loads(file.read_text())
        return int(self.endpoints["pid"]) == self.child.pid

    def rows(self, sql: str, *params: object) -> list[sqlite3.Row]:
        """Read the store's file from outside."""
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(sql, params).fetchall()

    async def check(self) -> int:
        """Hold everything on record to the invariants, all at rest; return how many runs."""
        books = await read_books(str(self._settings.get("DATABASE_URL", self.store)))
        if self.store.exists():
            check(sqlite_integrity(self.store))
        client = await Client.connect(self.endpoints["temporal"])
        problems, histories = await engine_faults(books, client)
        check(store_faults(books), problems)
        assert histories == len(books.runs)
        return len(books.runs)

    @asynccontextmanager
    async def api(self) -> AsyncIterator["Api"]:
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(
            base_url=self.url,
            timeout=PATIENCE_SECONDS,
            trust_env=False,
            limits=limits,
            verify=verify_for(self.url),
        ) as http:
            yield Api(http)

    async def history_bytes(self, run_id: str) -> int:
        """Return how large the history of a run is, all its executions together."""
        client = await Client.connect(self.endpoints["temporal"])
        found = await client.get_workflow_handle(workflow_id(run_id)).describe()
        return int(found.raw_description.workflow_execution_info.history_size_bytes)


@dataclass
class Viewer:
    """What somebody who watches one run has seen, over all connections."""

    http: httpx2.AsyncClient
    run_id: str
    seen: list[Json] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    status: int = 0

    @property
    def last_seq(self) -> int:
        return int(self.seen[-1]["seq"]) if self.seen else 0

    @property
    def has_ended(self) -> bool:
        return bool(self.seen) and self.seen[-1]["type"] in TERMINAL

    async def watch(self, most: int | None = None) -> Self:
        """Connect once and read until the stream ends, or until `most` new events were read."""
        headers = {"accept": "text/event-stream"}
        if self.seen:
            headers["last-event-id"] = str(self.last_seq)
        path = f"/v1/runs/{self.run_id}/events"
        wanted = None if most is None else len(self.seen) + most
        async with self.http.stream("GET", path, headers=headers) as reply:
            self.status = reply.status_code
            if most == 0 or self.status == 204:
                return self
            assert self.status == 200, await reply.aread()
            parser = SseParser()
            async for chunk in reply.aiter_bytes():
                for event in parser.feed(chunk):
                    if event.event == "shutdown":
                        self.notices.append(event.data)
                        continue
                    self.seen.append(json.loads(event.data))
                    assert str(self.last_seq) == event.last_event_id
                    if len(self.seen) == wanted:
                        return self
        return self

    async def to_end(self) -> Self:
        """Watch until the terminal event, over as many connections as it takes."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.has_ended:
                try:
                    await self.watch()
                except httpx2.TransportError:
                    await asyncio.sleep(0.02)
        return self


class Api:
    """The API as a careful caller uses it."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def call(self, method: str, path: str, body: Json | None = None) -> Json:
        reply = await self.http.request(method, path, json=body)
        assert reply.is_success, f"{method} {path}: {reply.status_code} {reply.text}"
        found: Json = reply.json() if reply.content else {}
        return found

    async def agent(self, *models: str, tools: tuple[str, ...] = (), **fields: object) -> str:
        """Register an agent with this chain and return its id."""
        agent_id = f"a-{uuid.uuid4().hex[:8]}"
        body = {"agent_id": agent_id, "name": agent_id, "models": list(models), **fields}
        await self.call("POST", "/v1/agents", body | {"tools": list(tools)})
        return agent_id

    async def start(self, content: str, agent_id: str, **fields: object) -> str:
        body = {"input": content, "agent_id": agent_id, **fields}
        return str((await self.call("POST", "/v1/runs", body))["run_id"])

    async def get(self, run_id: str) -> Json:
        return await self.call("GET", f"/v1/runs/{run_id}")

    async def cancel(self, run_id: str) -> Json:
        return await self.call("POST", f"/v1/runs/{run_id}/cancel", {})

    def viewer(self, run_id: str) -> Viewer:
        return Viewer(self.http, run_id)

    async def log(self, run_id: str) -> list[Json]:
        """Return the whole log, page by page."""
        found: list[Json] = []
        while True:
            after = found[-1]["seq"] if found else 0
            path = f"/v1/runs/{run_id}/events?after_seq={after}&limit=500"
            page = await self.call("GET", path)
            found += page["events"]
            if not page["has_more"]:
                return found

    async def seen(self, run_id: str, kind: str, count: int = 1) -> None:
        """Wait until so many events of a kind are in the log."""

        async def are_in() -> bool:
            found = [event for event in await self.log(run_id) if event["type"] == kind]
            return len(found) >= count

        await until(f"{count} {kind} of {run_id}", are_in, PATIENCE_SECONDS)

    async def ended(self, run_id: str) -> Json:
        """Watch a run to its end, hold its log to the invariants, and return the run."""
        viewer = await self.viewer(run_id).to_end()
        log = await self.log(run_id)
        run = await self.get(run_id)
        assert viewer.seen == log, "the viewer saw something else than the log"
        check_run(run, log)
        return run

    async def run(self, content: str, agent_id: str, **fields: object) -> Json:
        return await self.ended(await self.start(content, agent_id, **fields))


def check_run(run: Mapping[str, Any], log: list[Json]) -> None:
    """Hold a run that has ended to I2, I3 and the second half of I4."""
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1)), "a gap or a repeat"
    ends = [event["type"] for event in log if event["type"] in TERMINAL]
    expected = {"DONE": "run_done", "FAILED": "run_failed", "CANCELLED": "run_cancelled"}
    assert ends == [expected[run["state"]]] == [log[-1]["type"]], (run["state"], ends)
    json.dumps(log, ensure_ascii=False).encode()  # valid UTF-8, no lone surrogate
    if run["state"] == "DONE" and log[0]["data"].get("kind") != "tool":
        assert said(log) == run["output"]["content"], "the deltas are not the answer"


def said(log: list[Json]) -> str:
    """Return the text that a viewer shows in the end: the deltas of the committed step."""
    done = next(e["data"]["step"] for e in reversed(log) if e["type"] == "agent_invoke_done")
    pieces: list[str] = []
    for event in log:
        if event["data"].get("step") != done:
            continue
        if event["type"] == "agent_stream_reset":
            pieces.clear()
        elif event["type"] == "agent_stream_delta":
            pieces.append(event["data"]["text"])
    return "".join(pieces)


def data_of(log: list[Json], kind: str) -> list[Json]:
    return [event["data"] for event in log if event["type"] == kind]
