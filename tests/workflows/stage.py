"""A worker in this process on a real server, with the product's own store, tools and models.

What `bootstrap/parts.py` puts together for a process, less the processes: so that a test can look
at histories, step rows and sockets from the same event loop.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType as HistoryEvent
from temporalio.api.history.v1 import HistoryEvent as Entry
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import GrpcCompression

from activities.live import LiveAttempts
from adapters.payloads import data_converter
from adapters.store.database.tx import Row
from adapters.temporal import EngineSettings, TemporalGateway, workflow_id
from bootstrap.capabilities import Capabilities, build_capabilities
from bootstrap.engine import claim_engine, patiently
from bootstrap.identity import SortableIds
from bootstrap.intake import model_router
from bootstrap.settings import Settings
from bootstrap.storage import Storage, open_storage
from bootstrap.temporal_setup import prepare_namespace
from bootstrap.worker_role import WorkerRole, build_worker_role, new_live_attempts
from domain.agent import Agent, AgentKind, Limits
from domain.approval import Answer, Approval
from domain.deciding import Deciding
from domain.event import EventType, StoredEvent
from domain.intake import Intake, IntakePorts, IntakeSettings, StartRun
from domain.order import Timing
from domain.principal import LOCAL_OWNER, Principal, Scope
from domain.run import Run
from domain.tool import Resolution, Verdict
from tests.rig.waiting import until
from tests.stub.ledger import Ledger
from tests.stub.provider import Provider

_OPEN = (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW)

ANN = Principal(owner=LOCAL_OWNER, name="ann", scopes=frozenset(Scope))
PATIENCE_SECONDS = 30.0
"""The longest a test waits for anything; nothing takes this long."""


@dataclass
class Stage:
    """One store, one task queue, one worker, and the stubs around them."""

    settings: Settings
    client: Client
    storage: Storage
    can: Capabilities
    live: LiveAttempts
    gateway: TemporalGateway
    intake: Intake
    provider: Provider
    ledger: Ledger
    ledger_url: str
    worker: WorkerRole | None = None
    started: list[str] = field(default_factory=list)
    frozen: "asyncio.Task[None] | None" = None
    """What keeps a frozen worker's end waiting."""

    async def agent(self, agent_id: str = "helper", **fields: Any) -> str:
        """Put an agent on record; an offline script unless told otherwise."""
        made = Agent(
            agent_id=agent_id,
            owner=None,
            kind=fields.pop("kind", AgentKind.LLM),
            name=agent_id,
            models=tuple(fields.pop("models", ("offline/script",))),
            tools=tuple(fields.pop("tools", ())),
            created_at=1,
            updated_at=1,
            **fields,
        )
        await self.storage.directory.put_agent(made, replace=True)
        return agent_id

    async def start(self, content: str, agent_id: str = "helper", **fields: Any) -> Run:
        """Start a run and return it as it was accepted."""
        ask = StartRun(content=content, agent_id=agent_id, **fields)
        accepted = await self.intake.start_run(ANN, ask)
        self.started.append(accepted.run.run_id)
        return accepted.run

    async def run(self, content: str, agent_id: str = "helper", **fields: Any) -> Run:
        """Start a run and wait for its end."""
        return await self.ended((await self.start(content, agent_id, **fields)).run_id)

    async def get(self, run_id: str) -> Run:
        return await self.storage.runs.get_run(None, run_id)

    async def ended(self, run_id: str) -> Run:
        """Wait for the terminal event and return the run."""
        await self.seen(run_id)
        return await self.get(run_id)

    async def seen(self, run_id: str, kind: EventType | None = None, count: int = 1) -> StoredEvent:
        """Wait for the `count`-th event of a type, or for the terminal one."""
        left = count
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for batch in self.storage.events.follow(run_id, 0):
                for event in batch:
                    left -= event.type == kind
                    if left == 0 or (kind is None and event.is_terminal):
                        return event
        raise AssertionError(f"run {run_id} ended without {kind}: {await self.kinds(run_id)}")

    async def events(self, run_id: str) -> list[dict[str, Any]]:
        """Return a run's log as envelopes."""
        page = await self.storage.events.read(run_id, 0, 100_000)
        return [json.loads(event.envelope) for event in page]

    async def kinds(self, run_id: str) -> list[str]:
        return [event["type"] for event in await self.events(run_id)]

    async def of_kind(self, run_id: str, kind: EventType) -> list[dict[str, Any]]:
        """Return the data of every event of a type."""
        return [e["data"] for e in await self.events(run_id) if e["type"] == kind]

    async def rows(self, sql: str, **params: object) -> Sequence[Row]:
        return await self.storage.engine.read(
            lambda tx: [dict(row) for row in tx.all(sql, **params)]
        )

    async def step(self, run_id: str, step_id: str) -> Row:
        rows = await self.rows(
            "SELECT * FROM steps WHERE run_id = :run AND step_id = :step", run=run_id, step=step_id
        )
        assert len(rows) == 1, f"no step {step_id} of {run_id}"
        return rows[0]

    async def change(self, sql: str, **params: object) -> None:
        """Change rows behind the product's back."""
        await self.storage.engine.write(lambda tx: tx.run(sql, **params))

    def handle(self, run_id: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(workflow_id(run_id))

    async def history(self, run_id: str) -> Sequence[Entry]:
        return (await self.handle(run_id).fetch_history()).events

    async def entries(self, run_id: str) -> list[str]:
        """Return the history as the names of its events."""
        return [names_of(entry) for entry in await self.history(run_id)]

    async def closed(self, run_id: str) -> WorkflowExecutionStatus:
        """Wait until the workflow itself is closed and return how."""
        found: list[WorkflowExecutionStatus | None] = []

        async def is_closed() -> bool:
            found.append((await self.handle(run_id).describe()).status)
            return found[-1] not in _OPEN

        await until(f"run {run_id} is closed", is_closed, PATIENCE_SECONDS)
        assert found[-1] is not None
        return found[-1]

    async def until(self, what: str, is_true: Any) -> None:
        """Wait for a condition outside this process that nobody announces."""
        await until(what, is_true, PATIENCE_SECONDS)

    async def is_true(self, condition: bool) -> bool:
        """Return what is true in this process, where a question to another one is expected."""
        return condition

    async def resolve(self, tool_call_id: str, outcome: str, result: str = "") -> Run:
        """Say what became of a call, as a person does."""
        said = Verdict(resolution=Resolution(outcome), by=ANN.name, result=result)
        return await self.intake.resolve(ANN, tool_call_id, said)

    async def decide(self, approval_id: str, approved: bool = True, **said: Any) -> Approval:
        """Answer a question, as a person does."""
        answer = Answer(approved=approved, by=ANN.name, **said)
        return await self.deciding.decide(None, approval_id, answer)

    @property
    def deciding(self) -> Deciding:
        return Deciding(self.storage.approvals, self.gateway)

    async def reconcile(self) -> dict[str, int]:
        """Make one pass now, over fresh runs too."""
        assert self.worker is not None
        return await self.worker.reconciler.make_pass(0)

    async def work(self, *, restarts_missing: bool = False, passes: bool = True) -> WorkerRole:
        """Start a worker of this stage; without `passes` the reconciler waits to be called."""
        self.worker = build_worker_role(
            self.settings, self.client, self.storage, self.gateway, self.live, self.can
        )
        if restarts_missing:
            self.worker.reconciler.restart_missing(lambda: None)
        await self.worker.start()
        for task in self.worker._tasks:
            if not passes and task.get_name() in ("reconciler", "engine watch"):
                task.cancel()
        return self.worker

    async def rest(self) -> None:
        """Stop the worker."""
        if self.worker is not None:
            worker, self.worker = self.worker, None
            await worker.stop()


def names_of(entry: Entry) -> str:
    """Return a history event's name without its prefix."""
    return HistoryEvent.Name(entry.event_type).removeprefix("EVENT_TYPE_")


@contextlib.asynccontextmanager
async def open_stage(
    address: str,
    folder: Path,
    store: Path,
    *,
    works: bool = True,
    passes: bool = True,
    is_ours: bool = False,
    is_prepared: bool = False,
    **changes: Any,
) -> AsyncIterator[Stage]:
    """Set a stage on the migrated and empty `store`; `changes` are settings."""
    async with contextlib.AsyncExitStack() as stack:
        provider, ledger = Provider(), Ledger()
        stub = await stack.enter_async_context(provider.serve())
        books = await stack.enter_async_context(ledger.serve())
        defaults: dict[str, Any] = {
            "data_dir": folder,
            "database_url": str(store),
            "task_queue": f"q-{uuid.uuid4().hex[:12]}",
            "retry_seconds": 0.01,
            "openai_api_key": "sk-stub",
            "openai_base_url": f"{stub.url}/v1",
            "drain_seconds": 2.0,
            "reconcile_seconds": 600.0,
            "allow_private_hosts": (books.url.removeprefix("http://").partition(":")[0],),
        }
        settings = Settings.model_validate(defaults | changes)
        storage = await open_storage(settings)
        stack.push_async_callback(storage.close)
        client = await (reach(address) if is_prepared else connect(address))
        can = build_capabilities(settings, "http://127.0.0.1")
        stack.push_async_callback(can.close)
        live = new_live_attempts(settings, storage)
        gateway = TemporalGateway(client, engine_settings(settings, client.namespace), live)
        gateway.home = await claim_engine(client, storage.upkeep, is_ours=is_ours)
        await gateway.check()
        intake = Intake(
            IntakePorts(
                storage.runs,
                storage.directory,
                can.toolbox,
                can.models,
                gateway,
                SortableIds(),
                storage.clients,
                storage.agent_health,
                storage.learning,
                model_router(settings, storage, can),
            ),
            IntakeSettings(Limits(max_turns=50), ("offline/assistant",), 10_000),
        )
        stage = Stage(
            settings, client, storage, can, live, gateway, intake, provider, ledger, books.url
        )
        stack.push_async_callback(stage.rest)
        await stage.agent()
        if works:
            await stage.work(passes=passes)
        yield stage


async def connect(address: str) -> Client:
    """Return a client whose namespace is ready; a server that still starts is waited for."""
    client = await patiently(lambda: reach(address))
    await prepare_namespace(client, timedelta(days=7))
    return client


async def reach(address: str) -> Client:
    """Return a client of a server whose namespace is ready."""
    return await Client.connect(
        address, data_converter=data_converter, grpc_compression=GrpcCompression.NONE
    )


def engine_settings(settings: Settings, namespace: str) -> EngineSettings:
    timing = Timing(
        heartbeat_seconds=settings.heartbeat_seconds,
        attempt_seconds=settings.attempt_seconds,
        retry_seconds=settings.retry_seconds,
    )
    return EngineSettings(task_queue=settings.task_queue, timing=timing, namespace=namespace)
