"""The product as real processes around one store, and clients that write down what they saw.

`World.up()`, `.api()`, `.worker()` start processes and return once they serve; `.send()` repeats
what got no answer, `.start()` with the same Idempotency-Key.
"""

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx2

from adapters.net.loopback import verify_for
from tests.faults.books import STATUS_OF, Books, Problems, read_books
from tests.faults.check import (
    canary_faults,
    check,
    client_faults,
    effect_faults,
    engine_faults,
    input_faults,
)
from tests.faults.store_rules import rest_faults, store_faults
from tests.rig.roles import Role
from tests.rig.settings import CANARY, SHORT
from tests.rig.store import empty_store
from tests.rig.tools import TARGETS
from tests.rig.viewer import Viewer
from tests.rig.waiting import AWAY, PATIENCE_SECONDS, until
from tests.workflows.stage import connect

Json = dict[str, Any]


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
            verify=verify_for("http://127.0.0.1"),
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
            Path(self.store).write_bytes(empty_store())
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
            # Nobody is asked there; a real one would have each process load certificates.
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
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
            with contextlib.suppress(*AWAY):
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
        return (await self.answer(method, path, body, headers, allowed)).json()

    async def answer(
        self,
        method: str,
        path: str,
        body: object,
        headers: dict[str, str],
        allowed: tuple[int, ...] = (),
    ) -> httpx2.Response:
        """Make one request as `send` does, and return the answer as it came."""
        answers: list[httpx2.Response] = []

        async def is_answered() -> bool:
            with contextlib.suppress(*AWAY):
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
        return answer

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
            return found["state"] in STATUS_OF

        await until(f"the end of {run_id}", has_ended, seconds)
        return found

    # -------------------------------------------------------------- behind the product's back

    async def books(self) -> Books:
        return await read_books(self.store)

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

    async def settle(self, seconds: float = PATIENCE_SECONDS) -> Books:
        """Wait until every run has ended or waits for a person; return the books."""
        books: list[Books] = []

        async def is_at_rest() -> bool:
            books[:] = [await self.books()]
            return not rest_faults(books[0])

        try:
            await until("every run is at rest", is_at_rest, seconds)
        except AssertionError as error:
            tails = "\n".join(role.tail(10) for role in self.roles[-3:])
            raise AssertionError(f"{error}: {rest_faults(books[0])}\n{tails}") from error
        return books[0]

    async def check(
        self,
        *more: Problems,
        effects: Any = None,
        lost: tuple[str, ...] = (),
        address: str | None = None,
        seconds: float = PATIENCE_SECONDS,
    ) -> Books:
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
        found: Problems = []

        async def agrees() -> bool:
            found[:], _ = await engine_faults(books, client, lost)
            return not found

        # The workflow closes a moment after its last event.
        with contextlib.suppress(AssertionError):
            await until("Temporal agrees", agrees, 10)
        for viewer in self.viewers:
            viewer.check()
        check(
            store_faults(books),
            input_faults(books, self.accepted),
            client_faults(books, [viewer.transcript() for viewer in self.viewers]),
            effect_faults(books, effects) if effects is not None else [],
            canary_faults(books, [CANARY], self.folder.glob("*.log")),
            found,
            *more,
        )
        return books

    def _own_temporal(self) -> str:
        said = next(role.endpoints() for role in reversed(self.roles) if role.is_running)
        assert said is not None
        return str(said["temporal"])
