"""The API of a process: the app with its ports, on a socket of ours, without uvicorn's signals."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from activities.live import LiveAttempts
from adapters.schedules import TemporalSchedules
from adapters.store.runs.slots import StoredPool
from adapters.temporal import TemporalGateway
from api.app import create_app, drain
from api.ports import (
    ApiConfig,
    ApiPorts,
    ProxyConfig,
    ProxyPorts,
    RateConfig,
    StreamConfig,
    nothing_pushed,
)
from api.server import ApiProtocol
from bootstrap.agents_file import FILE_NAME
from bootstrap.capabilities import Capabilities
from bootstrap.exposure import is_loopback
from bootstrap.intake import intake_ports, intake_settings, model_router
from bootstrap.logs.telemetry import log_feed
from bootstrap.settings import Settings
from bootstrap.slots import LivePool
from bootstrap.storage import Storage
from domain.errors import SetupError

_READY_SECONDS = 10.0
_DRAIN_SECONDS = 3.0
_ANY = ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound: exposure.py decides that


class _Server(uvicorn.Server):
    """uvicorn, but the signals belong to the supervisor."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


@dataclass
class ApiRole:
    """A running HTTP server."""

    app: FastAPI
    server: _Server
    listener: socket.socket
    task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Return where the API answers; the real port, also when any was asked for."""
        return url_of(self.listener)

    async def start(self) -> None:
        """Serve, and return once connections are taken.

        Raises:
            SetupError: the server ended before it was ready.
        """
        self.task = asyncio.create_task(
            self.server.serve(sockets=[self.listener]), name="HTTP server"
        )
        async with asyncio.timeout(_READY_SECONDS):
            while not self.server.started:
                if self.task.done():
                    raise SetupError("the HTTP server ended before it was ready")
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Refuse new work, end every stream with a notice, then close."""
        await drain(self.app, _DRAIN_SECONDS)
        self.server.should_exit = True
        if self.task is not None:
            await asyncio.gather(self.task, return_exceptions=True)


def url_of(listener: socket.socket) -> str:
    """Return the address of a bound socket as this machine reaches it."""
    host, port = listener.getsockname()[:2]
    name = "127.0.0.1" if host in _ANY else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket.

    Raises:
        SetupError: the port is taken or the host is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise SetupError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with"
            " ORCHESTRATOR_PORT (0 = any free port)"
        ) from error
    listener.listen(2048)
    listener.setblocking(False)
    return listener


def build_api_role(
    settings: Settings,
    storage: Storage,
    gateway: TemporalGateway,
    can: Capabilities,
    live: LiveAttempts | None,
    listener: socket.socket,
) -> ApiRole:
    """Return the HTTP server with everything in place, not yet serving."""
    router = model_router(settings, storage, can)
    ports = ApiPorts(
        clients=storage.clients,
        intake=intake_ports(settings, storage, gateway, can, works_here=live is not None),
        proxy=ProxyPorts(can.models, storage.calls, can.prices, router),
        events=storage.events,
        trees=storage.trees,
        approvals=storage.approvals,
        forks=storage.forks,
        dead_letters=storage.dead_letters,
        goals=storage.goals,
        budgets=storage.budgets,
        prices=storage.prices,
        costs=storage.costs,
        figures=storage.figures,
        schedules=storage.schedules,
        scheduler=TemporalSchedules(gateway),
        keys=storage.keys,
        agent_health=storage.agent_health,
        pins=storage.pins,
        model_health=storage.calls,
        clock=storage.clock,
        workers=LivePool(live) if live else StoredPool(storage.engine, settings.worker_slots),
        logs=log_feed(),
        addresses=can.policy,
        checks={"engine": gateway.check, "store": storage.check, "worker": storage.check_workers},
        stuck=storage.stuck_runs,
        tool_trouble=can.toolbox.trouble,
        push_lag=storage.pushes.lag if settings.ingress_url else nothing_pushed,
    )
    config = ApiConfig(
        intake=intake_settings(settings),
        open_without_keys=settings.auth == "auto" and is_loopback(settings.host),
        allowed_hosts=frozenset({"localhost", "127.0.0.1", "::1", *settings.allowed_hosts}),
        allowed_origins=frozenset(settings.allowed_origins),
        heartbeat_seconds=settings.agent_check_seconds,
        agents_file=str(settings.data_dir / FILE_NAME) if live else None,
        max_body_bytes=settings.max_body_bytes,
        stream=StreamConfig(
            ping_seconds=settings.ping_seconds, stall_seconds=settings.stall_seconds
        ),
        rate=RateConfig(
            per_second=settings.requests_per_second, burst=int(settings.requests_per_second * 5)
        ),
        proxy=ProxyConfig(
            output_tokens=settings.max_output_tokens,
            most_output_tokens=settings.most_output_tokens,
            total_seconds=settings.attempt_seconds,
        ),
    )
    app = create_app(ports, config)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="on",
            http=ApiProtocol,
            timeout_graceful_shutdown=5,
            timeout_keep_alive=75,
            proxy_headers=False,
            server_header=False,
            date_header=False,
        )
    )
    return ApiRole(app, server, listener)
