"""The parts of a process, put together: store, engine, worker, API. Imports everything heavy."""

import asyncio
import contextlib
import importlib.metadata
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from adapters.temporal import EngineSettings, TemporalGateway
from bootstrap.agents_file import load_agents_file
from bootstrap.api_role import ApiRole, build_api_role
from bootstrap.capabilities import build_capabilities
from bootstrap.devserver import DevServer, DevServerInfo
from bootstrap.engine import claim_engine, connect
from bootstrap.exposure import check_exposure
from bootstrap.settings import Settings
from bootstrap.storage import Storage, open_storage
from bootstrap.supervisor import Endpoints
from bootstrap.telemetry import forward_core_logs
from bootstrap.worker_role import WorkerRole, build_worker_role, new_live_attempts
from domain.order import Timing

Assemble = Callable[..., Awaitable["Running"]]


@dataclass
class Running:
    """A process at work. `watched` are tasks whose end is a failure of the whole."""

    endpoints: Endpoints
    watched: list[asyncio.Task[None]]
    api: ApiRole | None
    worker: WorkerRole | None
    background: list[asyncio.Task[None]] = field(default_factory=list)

    async def stop(self) -> None:
        """Stop intake and streams first, then hand the worker's attempts over."""
        if self.api is not None:
            await self.api.stop()
        if self.worker is not None:
            await self.worker.stop()
        for task in self.background:
            task.cancel()
        await asyncio.gather(*self.background, return_exceptions=True)


async def assemble(
    roles: frozenset[str],
    settings: Settings,
    stack: contextlib.AsyncExitStack,
    server: DevServer | None,
    restart_unfinished: bool,
) -> Running:
    """Start the parts that `roles` need; what was started is closed by `stack`.

    Raises:
        SetupError, StoreUnavailableError, EngineUnavailableError: it cannot start.
    """
    storage = await open_storage(settings)
    stack.push_async_callback(storage.close)
    if "api" in roles:
        check_exposure(settings, has_keys=await storage.keys.has_keys())
        await load_agents_file(settings.data_dir, storage.directory, storage.clock)
    info = await server.wait_ready() if server is not None else None
    forward_core_logs()
    client = await connect(settings, info.address if info else None)
    can = build_capabilities(settings, f"http://{settings.host}:{settings.port}")
    stack.push_async_callback(can.close)
    live = new_live_attempts(settings, storage) if "worker" in roles else None
    gateway = TemporalGateway(client, _engine_settings(settings, info, client.namespace), live)
    gateway.mismatch = await claim_engine(client, storage.upkeep, is_ours=server is not None)
    worker = None
    if live is not None:
        worker = build_worker_role(settings, client, storage, gateway, live, can)
        worker.reconciler.restarts_missing = restart_unfinished
        await worker.start()
    api = None
    if "api" in roles:
        api = await build_api_role(settings, storage, gateway, can, live)
        await api.start()
    running = Running(
        endpoints=Endpoints(
            api=api.url if api else None,
            temporal=client.service_client.config.target_host,
            temporal_ui=info.ui_url if info else settings.temporal_ui_url,
            data_dir=str(settings.data_dir),
            pid=os.getpid(),
            providers=can.providers(),
            version=importlib.metadata.version("durable-orchestrator"),
        ),
        watched=[],
        api=api,
        worker=worker,
    )
    _look_after(running, storage, server, apart=len(roles) == 1)
    return running


def _look_after(
    running: Running, storage: Storage, server: DevServer | None, *, apart: bool
) -> None:
    """Note which tasks must not end, and start the loops beside them."""
    if running.api is not None and running.api.task is not None:
        running.watched.append(running.api.task)
        running.background.append(
            asyncio.create_task(storage.watch(apart=apart), name="log of other processes")
        )
    if running.worker is not None:
        running.watched.append(running.worker.serving)
    if server is not None:
        watching = asyncio.create_task(server.watch(), name="Temporal dev server")
        running.watched.append(watching)
        running.background.append(watching)


def _engine_settings(
    settings: Settings, info: DevServerInfo | None, namespace: str
) -> EngineSettings:
    timing = Timing(
        heartbeat_seconds=settings.heartbeat_seconds,
        attempt_seconds=settings.attempt_seconds,
        retry_seconds=settings.retry_seconds,
    )
    return EngineSettings(
        task_queue=settings.task_queue,
        timing=timing,
        ui_url=info.ui_url if info else settings.temporal_ui_url,
        namespace=namespace,
    )
