"""The product as real processes around one store, and clients that write down what they saw.

`World.up()`, `.api()`, `.worker()` start processes and return once they serve; a `Client` repeats
what got no answer, with the same Idempotency-Key; a `Viewer` reconnects with `Last-Event-ID`.
"""

import asyncio
import contextlib
import functools
import json
import secrets
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2

from adapters.llm.sse import SseParser
from adapters.store.database.urls import SqliteFile
from adapters.store.schema.migrate import upgrade
from tests.faults import check as rules
from tests.rig.child import Child, Process
from tests.rig.forked import Forked
from tests.rig.tools import TARGETS
from tests.workflows.stage import connect

PATIENCE_SECONDS = 100.0
"""The longest a test waits for anything that has no bound of its own."""
_POLL_SECONDS = 0.01
_AWAY = (httpx2.TransportError, OSError)
_TERMINAL = frozenset({"run_done", "run_failed", "run_cancelled"})
CANARY = "sk-canary-5f1d0c"
"""A secret every process holds; it must appear nowhere."""

SHORT = {
    "ORCHESTRATOR_HEARTBEAT_SECONDS": "3",
    "ORCHESTRATOR_LEASE_SECONDS": "1",
    "ORCHESTRATOR_RECONCILE_SECONDS": "1",
    "ORCHESTRATOR_RETRY_SECONDS": "0.05",
    "ORCHESTRATOR_PING_SECONDS": "0.5",
    "ORCHESTRATOR_DRAIN_SECONDS": "2",
    "ORCHESTRATOR_LOG_LEVEL": "info",
    "ORCHESTRATOR_LOG_FORMAT": "json",
}
"""Waits of `make test`; a heavy test takes the product's own."""

Json = dict[str, Any]


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
        await asyncio.sleep(_POLL_SECONDS)


@functools.cache
def _empty_store() -> bytes:
    """Return a migrated and empty database: made once, where every world would make its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        upgrade(SqliteFile(path))
        return path.read_bytes()


class Role(Child):
    """One `orchestrator <role>` process, forked by the nursery."""

    def __init__(self, role: str, folder: Path, env: Mapping[str, str], log: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(role, [role], log, env)

    def _start(self, command: Sequence[str], extra: Mapping[str, str]) -> Process:
        return Forked(command, self.log, extra)

    def endpoints(self) -> Json | None:
        """Return what the process says of itself; None before it serves."""
        with contextlib.suppress(OSError, ValueError):
            said: Json = json.loads((self.folder / "endpoints.json").read_text())
            return said if said["pid"] == self.pid else None
        return None

    async def serves(self, seconds: float = PATIENCE_SECONDS) -> Json:
        """Wait until it serves."""

        def is_ready() -> bool:
            assert self.is_running, f"{self.name} ended instead of serving: {self.tail(40)}"
            return self.endpoints() is not None

        await until(f"{self.name} serves", is_ready, seconds)
        said = self.endpoints()
        assert said is not None
        return said

    async def died(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until it ends by itself; return its code, negative for a signal."""
        await until(f"{self.name} ends", lambda: not self.is_running, seconds)
        return self.wait(1)


@dataclass
class Viewer:
    """Somebody who watches one run and comes back whenever the connection breaks."""

    world: "World"
    run_id: str
    events: list[Json] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    """When each event came, by `time.monotonic()`."""
    connections: list[list[int]] = field(default_factory=list)
    comments: int = 0
    """Chunks that brought no event: pings, mostly."""
    saw_end: bool = False
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _task: "asyncio.Task[None] | None" = None

    def start(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def check(self) -> None:
        """Raise what went wrong while watching."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    def transcript(self) -> rules.Transcript:
        return rules.Transcript(self.run_id, self.connections, self.saw_end)

    def count(self, kind: str, **data: object) -> int:
        """Return how many events of a type, with these fields in `data`, were seen."""
        return sum(
            event["type"] == kind and data.items() <= event["data"].items() for event in self.events
        )

    async def sees(
        self, kind: str, count: int = 1, seconds: float = PATIENCE_SECONDS, **data: object
    ) -> None:
        """Wait for the `count`-th event of a type."""

        def is_there() -> bool:
            assert self._task is not None, "start() comes first"
            self.check()
            return self.saw_end or self.count(kind, **data) >= count

        await self._wait(f"{count} {kind} {data or ''} of {self.run_id}", is_there, seconds)
        seen = [event["type"] for event in self.events][-8:]
        assert self.count(kind, **data) >= count, f"{self.run_id} ended without {kind}: {seen}"

    async def ends(self, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait for the terminal event and return its type."""
        await self._wait(f"the end of {self.run_id}", lambda: self.saw_end, seconds)
        return str(self.events[-1]["type"])

    async def _wait(self, what: str, is_true: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(is_true)
        except TimeoutError as error:
            seen = [event["type"] for event in self.events][-8:]
            raise AssertionError(f"not within {seconds:g} s: {what}; last: {seen}") from error

    async def _follow(self) -> None:
        try:
            while not self.saw_end:
                with contextlib.suppress(*_AWAY):
                    await self._connect()
                await asyncio.sleep(_POLL_SECONDS)
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _connect(self) -> None:
        headers = {"accept": "text/event-stream"}
        if self.events:
            headers["last-event-id"] = str(self.events[-1]["seq"])
        path = f"/v1/runs/{self.run_id}/events"
        async with self.world.http.stream(
            "GET", self.world.url + path, headers=headers, timeout=httpx2.Timeout(5, read=30)
        ) as answer:
            if answer.status_code != 200:
                assert answer.status_code in (204, 503, 429), answer.status_code
                return
            self.connections.append([])
            parser = SseParser()
            async for chunk in answer.aiter_raw():
                await self._take(parser, chunk)

    async def _take(self, parser: SseParser, chunk: bytes) -> None:
        frames = parser.feed(chunk)
        self.comments += not frames
        for frame in frames:
            if frame.event == "shutdown":
                continue
            event = json.loads(frame.data)
            assert frame.last_event_id == str(event["seq"])
            self.connections[-1].append(event["seq"])
            self.events.append(event)
            self.at.append(time.monotonic())
            self.saw_end = self.saw_end or event["type"] in _TERMINAL
        async with self._changed:
            self._changed.notify_all()


@dataclass
class World:
    """One store and whatever runs around it.

    Args:
        folder: where everything goes.
        temporal: address of a server apart; None: `up` brings its own.
        database: `DATABASE_URL`; default: a SQLite file in `folder`.
        settings: environment of every process, on top of `SHORT`.
    """

    folder: Path
    temporal: str | None = None
    database: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    roles: list[Role] = field(default_factory=list)
    viewers: list[Viewer] = field(default_factory=list)
    accepted: dict[str, set[str]] = field(default_factory=dict)
    """Every key a client used, to the run ids it was answered."""
    url: str = ""
    queue: str = field(default_factory=lambda: f"q-{secrets.token_hex(6)}")
    http: httpx2.AsyncClient = field(
        default_factory=lambda: httpx2.AsyncClient(
            timeout=httpx2.Timeout(30, connect=5),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
        )
    )
    _port: str = "0"
    _names: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    @property
    def store(self) -> str:
        return self.database or str(self.folder / "orchestrator.db")

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.database is None:
            # Not in a thread: Alembic upgrades one database at a time.
            Path(self.store).write_bytes(_empty_store())
        return self

    async def __aexit__(self, *_: object) -> None:
        for viewer in self.viewers:
            await viewer.stop()
        await self.http.aclose()
        for role in self.roles:
            role.close()

    # -------------------------------------------------------------- processes

    def spawn(self, role: str, **extra: str) -> Role:
        """Start a process and do not wait. `extra` are settings by their environment names."""
        apart = role != "up"
        number = next(self._names)
        folder = self.folder / (f"{role}-{number}" if apart else "up")
        env = {
            "ORCHESTRATOR_DATA_DIR": str(folder),
            "DATABASE_URL": self.store,
            "ORCHESTRATOR_PORT": self._port if role != "worker" else "0",
            "ORCHESTRATOR_TEMPORAL_PORT": "0",
            "ORCHESTRATOR_TEMPORAL_UI_PORT": "0",
            "TEMPORAL_TASK_QUEUE": self.queue,
            "ORCHESTRATOR_TOOLS": ",".join(TARGETS),
            "ORCHESTRATOR_ALLOW_PRIVATE_HOSTS": "127.0.0.1",
            "OPENAI_API_KEY": CANARY,
        }
        if self.temporal:
            env["TEMPORAL_ADDRESS"] = self.temporal
        child = Role(
            role, folder, {**env, **SHORT, **self.settings, **extra}, self.folder / f"{role}.log"
        )
        self.roles.append(child)
        return child

    async def _started(self, role: Role) -> Role:
        said = await role.serves()
        if said["api"]:
            self.url = said["api"]
            # The next one takes the same port, so that clients find it again.
            self._port = self.url.rpartition(":")[2]
        return role

    async def up(self, **extra: str) -> Role:
        return await self._started(self.spawn("up", **extra))

    async def api(self, **extra: str) -> Role:
        return await self._started(self.spawn("api", **extra))

    async def worker(self, **extra: str) -> Role:
        return await self._started(self.spawn("worker", **extra))

    async def apart(self, workers: int = 1, **extra: str) -> tuple[Role, list[Role]]:
        """Start an API and workers, all at once."""
        roles = [self.spawn("api", **extra), *(self.spawn("worker") for _ in range(workers))]
        for role in roles:
            await self._started(role)
        return roles[0], roles[1:]

    async def ready(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until /readyz says so."""

        async def is_ready() -> bool:
            with contextlib.suppress(*_AWAY):
                return bool((await self.http.get(f"{self.url}/readyz")).status_code == 200)
            return False

        await until("/readyz says ready", is_ready, seconds)

    async def serving(self, *roles: Role) -> None:
        """Wait until processes that were spawned serve."""
        for role in roles:
            await self._started(role)

    # -------------------------------------------------------------- clients

    async def send(
        self,
        method: str,
        path: str,
        body: object = None,
        key: str = "",
        allowed: tuple[int, ...] = (),
    ) -> Any:
        """Make one request, again and again until it is answered and not with 503.

        `allowed` are refusals that a repeated request may meet.
        """
        headers = {"idempotency-key": key} if key else {}
        answers: list[httpx2.Response] = []

        async def is_answered() -> bool:
            with contextlib.suppress(*_AWAY):
                answer = await self.http.request(
                    method, self.url + path, json=body, headers=headers
                )
                answers.append(answer)
                return bool(answer.status_code != 503)
            return False

        await until(f"{method} {path} is answered", is_answered)
        answer = answers[-1]
        is_fine = answer.status_code < 400 or answer.status_code in allowed
        assert is_fine, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    async def get(self, path: str) -> Any:
        return await self.send("GET", path)

    async def agent(self, agent_id: str = "helper", tools: tuple[str, ...] = ()) -> str:
        """Register an agent on the offline script model."""
        body = {"agent_id": agent_id, "name": agent_id, "models": ["offline/script"]}
        await self.send("POST", "/v1/agents", {**body, "tools": list(tools)})
        return agent_id

    async def start(
        self, content: str, agent_id: str = "helper", key: str = "", **fields: object
    ) -> str:
        """Start a run; return its id as it was answered."""
        key = key or f"k-{secrets.token_hex(8)}"
        self.accepted.setdefault(key, set())
        body = {"input": content, "agent_id": agent_id, **fields}
        run_id = str((await self.send("POST", "/v1/runs", body, key))["run_id"])
        self.accepted[key].add(run_id)
        return run_id

    def watch(self, run_id: str) -> Viewer:
        """Begin to watch a run."""
        viewer = Viewer(self, run_id).start()
        self.viewers.append(viewer)
        return viewer

    async def run(self, run_id: str) -> Json:
        found: Json = await self.get(f"/v1/runs/{run_id}")
        return found

    async def ended(self, run_id: str, seconds: float = PATIENCE_SECONDS) -> Json:
        """Wait until a run is terminal and return it."""
        found: Json = {}

        async def has_ended() -> bool:
            found.update(await self.run(run_id))
            return found["state"] in rules.STATUS_OF

        await until(f"the end of {run_id}", has_ended, seconds)
        return found

    # -------------------------------------------------------------- behind the product's back

    async def books(self) -> rules.Books:
        return await rules.read_books(self.store)

    async def state_is(self, run_id: str, state: str) -> bool:
        """Look at a run's row without an API."""
        return bool((await self.books()).run(run_id)["state"] == state)

    async def pid_of_step(self, run_id: str) -> int | None:
        """Return the process that has a step of a run open."""
        books = await self.books()
        holders = {
            f"worker:{row['worker_id']}"
            for row in books.tables["steps"]
            if (row["run_id"], row["state"]) == (run_id, "open")
        }
        # `host:boot:pid:started`
        pids = [
            row["process"].split(":")[-2]
            for row in books.tables["leases"]
            if row["name"] in holders
        ]
        return int(pids[0]) if pids else None

    # -------------------------------------------------------------- the end

    async def settle(self, seconds: float = PATIENCE_SECONDS) -> rules.Books:
        """Wait until every run has ended or waits for a person; return the books."""
        books: list[rules.Books] = []

        async def is_at_rest() -> bool:
            books[:] = [await self.books()]
            return not rules.rest_faults(books[0])

        try:
            await until("every run is at rest", is_at_rest, seconds)
        except AssertionError as error:
            tails = "\n".join(role.tail(10) for role in self.roles[-3:])
            raise AssertionError(f"{error}: {rules.rest_faults(books[0])}\n{tails}") from error
        return books[0]

    async def check(
        self,
        *more: rules.Problems,
        effects: Any = None,
        lost: tuple[str, ...] = (),
        address: str | None = None,
        seconds: float = PATIENCE_SECONDS,
    ) -> rules.Books:
        """Wait for rest, then hold every invariant against the store, Temporal and the clients.

        Args:
            more: what else was found.
            effects: the effect ledger.
            lost: runs whose workflow an earlier server took with it.
            address: of the Temporal server, when `up` brought its own.
            seconds: how long everything may take to come to rest.
        """
        books = await self.settle(seconds)
        client = await connect(address or self.temporal or self._own_temporal())
        found: rules.Problems = []

        async def agrees() -> bool:
            found[:], _ = await rules.engine_faults(books, client, lost)
            return not found

        # The workflow closes a moment after its last event.
        with contextlib.suppress(AssertionError):
            await until("Temporal agrees", agrees, 10)
        for viewer in self.viewers:
            viewer.check()
        rules.check(
            rules.store_faults(books),
            rules.input_faults(books, self.accepted),
            rules.client_faults(books, [viewer.transcript() for viewer in self.viewers]),
            rules.effect_faults(books, effects) if effects is not None else [],
            rules.canary_faults(books, [CANARY], self.folder.glob("*.log")),
            found,
            *more,
        )
        return books

    def _own_temporal(self) -> str:
        said = next(role.endpoints() for role in reversed(self.roles) if role.is_running)
        assert said is not None
        return str(said["temporal"])


def was_killed(code: int) -> bool:
    """Whether a process ended by SIGKILL."""
    return code == -signal.SIGKILL
