"""The parts of a process, put together: store, engine, worker, API. Imports everything heavy."""

import asyncio
import importlib.metadata
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio.client import Client
from temporalio.runtime import Runtime

from activities.live import LiveAttempts
from adapters.temporal import EngineSettings, TemporalGateway
from bootstrap import pace
from bootstrap.agents_file import load_agents_file
from bootstrap.api_role import ApiRole, build_api_role, listen, url_of
from bootstrap.capabilities import Capabilities, build_capabilities
from bootstrap.devserver.server import DevServer, DevServerInfo
from bootstrap.engine import claim_engine, connect
from bootstrap.exposure import check_exposure
from bootstrap.logs.telemetry import forward_core_logs
from bootstrap.settings import Settings
from bootstrap.storage import Storage, open_storage
from bootstrap.supervisor import Endpoints, Host
from bootstrap.tasks import end_all
from bootstrap.temporal_setup import prepare_namespace
from bootstrap.worker_role import WorkerRole, build_worker_role, new_live_attempts
from domain.order import Timing

Assemble = Callable[..., Awaitable["Running"]]


DEV_UI_ABOVE = 1000
"""How far above its gRPC port a dev server puts its UI, unless it is told otherwise."""
_LAST_PORT = 65535
_FIRST_ANSWERS_SECONDS = 0.5
"""How long a process that has become ready only answers."""


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
        await end_all(self.background)


@dataclass(frozen=True)
class _Ground:
    """What every role stands on."""

    settings: Settings
    storage: Storage
    client: Client
    can: Capabilities
    gateway: TemporalGateway
    live: LiveAttempts | None
    info: DevServerInfo | None
    listener: socket.socket | None


async def assemble(roles: frozenset[str], settings: Settings, host: Host) -> Running:
    """Start the parts that `roles` need; what was started is closed by the host's stack.

    Raises:
        SetupError, StoreUnavailableError, EngineUnavailableError: it cannot start.
    """
    storage = await open_storage(settings)
    host.stack.push_async_callback(storage.close)
    if "api" in roles:
        check_exposure(settings, has_keys=await storage.keys.has_keys())
    ground = await _lay_ground(roles, settings, host, storage)
    worker = await _start_worker(ground, host) if ground.live is not None else None
    api = await _start_api(ground) if ground.listener is not None else None
    running = Running(
        endpoints=_endpoints(ground, api),
        watched=[],
        api=api,
        worker=worker,
        background=[asyncio.create_task(_warm(ground.can), name="warming providers")],
    )
    _look_after(running, storage, host.server, apart=len(roles) == 1)
    return running


async def _warm(can: Capabilities) -> None:
    # What is ready answers first: the imports of a provider's SDK keep the interpreter busy.
    await asyncio.sleep(_FIRST_ANSWERS_SECONDS)
    await can.warm()
    pace.settle()


async def _lay_ground(
    roles: frozenset[str], settings: Settings, host: Host, storage: Storage
) -> _Ground:
    # Bound before anything is built: agents are told where we are, and a taken port shows at once.
    listener = listen(settings.host, settings.port) if "api" in roles else None
    forward_core_logs()
    info = None
    if host.server is not None:
        info = await host.server.wait_ready(runtime=Runtime.default())
    client = await connect(settings, info.address if info else None)
    target = client.service_client.config.target_host
    at = engine_places(target, settings.temporal_ui_url, info)
    can = build_capabilities(settings, url_of(listener) if listener else None, *at)
    host.stack.push_async_callback(can.close)
    if listener is not None:
        await load_agents_file(
            settings.data_dir,
            storage.directory,
            storage.clock,
            can.check_agent,
            is_only="worker" in roles,
        )
    live = new_live_attempts(settings, storage) if "worker" in roles else None
    gateway = TemporalGateway(client, _engine_settings(settings, info, client.namespace), live)
    gateway.home = await claim_engine(client, storage.upkeep, is_ours=info is not None)
    await gateway.check()
    return _Ground(settings, storage, client, can, gateway, live, info, listener)


def engine_places(target: str, ui_url: str | None, info: DevServerInfo | None) -> list[str]:
    """Return wherever Temporal listens, none of which may be an agent's.

    Of a server that is not ours we know what the settings say; without a word of its UI, it is
    taken to be where a dev server puts it.
    """
    host, _, port = target.rpartition(":")
    if info is not None:
        sides = [f"{host}:{side}" for side in info.side_ports]
        return [target, *([info.ui_url] if info.ui_url else []), *sides]
    if ui_url is not None:
        return [target, ui_url]
    ui_port = int(port) + DEV_UI_ABOVE if port.isdecimal() else 0
    return [target, f"{host}:{ui_port}"] if 0 < ui_port <= _LAST_PORT else [target]


async def _start_worker(ground: _Ground, host: Host) -> WorkerRole:
    assert ground.live is not None
    worker = build_worker_role(
        ground.settings, ground.client, ground.storage, ground.gateway, ground.live, ground.can
    )
    if host.restart_note.exists():
        worker.reconciler.restart_missing(host.restart_note.unlink)
    await worker.start()

    async def engine_is_back(_info: DevServerInfo) -> None:
        # Its file may be a new one: then nothing of ours is on it yet.
        hours = timedelta(hours=ground.settings.retention_hours)
        await prepare_namespace(ground.client, hours)
        ground.gateway.home = await claim_engine(ground.client, ground.storage.upkeep, is_ours=True)
        worker.reconciler.nudge()

    host.after_restart.append(engine_is_back)
    return worker


async def _start_api(ground: _Ground) -> ApiRole:
    assert ground.listener is not None
    api = build_api_role(
        ground.settings, ground.storage, ground.gateway, ground.can, ground.live, ground.listener
    )
    await api.start()
    return api


def _endpoints(ground: _Ground, api: ApiRole | None) -> Endpoints:
    return Endpoints(
        api=api.url if api else None,
        temporal=ground.client.service_client.config.target_host,
        temporal_ui=ground.info.ui_url if ground.info else ground.settings.temporal_ui_url,
        data_dir=str(ground.settings.data_dir),
        pid=os.getpid(),
        providers=ground.can.providers(),
        version=importlib.metadata.version("durable-orchestrator"),
    )


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
        running.watched.extend(running.worker.watched)
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
