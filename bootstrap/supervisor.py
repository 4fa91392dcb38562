"""The life of a process: what starts in which order, who owns the signals, what stops first.

`up` is API and worker on one event loop and one Temporal client, with the dev server as a child.
The roles apart are the same parts against TEMPORAL_ADDRESS and DATABASE_URL.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap import pace
from bootstrap.devserver.process import own_namespace
from bootstrap.devserver.server import DevServer, DevServerInfo, DevServerOptions, OnRestart
from bootstrap.late_methods import late_methods
from bootstrap.settings import Settings
from domain.errors import SetupError

if TYPE_CHECKING:
    # Imported while the dev server starts: together they take longer than it does.
    from bootstrap.parts import Assemble

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a running process can be reached."""

    api: str | None
    temporal: str
    temporal_ui: str | None
    data_dir: str
    pid: int
    providers: tuple[str, ...]
    version: str


@dataclass(frozen=True, slots=True)
class Host:
    """What the parts of a process are put into.

    `stack` closes them, last started first. `after_restart` is told when the server came back.
    """

    stack: contextlib.AsyncExitStack
    server: DevServer | None
    after_restart: list[OnRestart]
    restart_note: Path
    """There while runs that the engine lost are to be started again, over any crash."""


def embeds_server(roles: frozenset[str]) -> bool:
    """Whether these roles bring their own Temporal dev server."""
    return roles == {"api", "worker"} and not os.environ.get("TEMPORAL_ADDRESS")


async def serve(
    roles: frozenset[str],
    settings: Settings,
    on_ready: Callable[[Endpoints], None],
    *,
    restart_unfinished: bool = False,
) -> int:
    """Run the roles until a signal or a fatal failure; return the exit code.

    Raises:
        SetupError: the process cannot start as configured.
        StoreUnavailableError, EngineUnavailableError: what it needs does not answer.
    """
    stop = _stop_on_signal()
    async with contextlib.AsyncExitStack() as stack:
        _make_data_dir(settings.data_dir)
        restart_note = settings.data_dir / "restart-unfinished"
        server = None
        after_restart: list[OnRestart] = []
        if embeds_server(roles):
            if restart_unfinished:
                restart_note.touch()
            server = _dev_server(settings, restart_unfinished, after_restart)
            await server.spawn()
            stack.push_async_callback(server.stop)
        # Heavy imports happen here, beside the starting server.
        parts = await asyncio.to_thread(_import_parts)
        host = Host(stack, server, after_restart, restart_note)
        running = await parts(roles, settings, host)
        endpoints = running.endpoints
        if endpoints.api is not None or not _has_live_api(settings.data_dir):
            _write_endpoints(settings.data_dir, endpoints)
            stack.callback(_remove_endpoints, settings.data_dir)
        pace.settle()
        on_ready(endpoints)
        failed = await _until_stopped(stop, running.watched)
        await running.stop()
    return 1 if failed else 0


def _make_data_dir(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"the data folder {folder} cannot be made: {error.strerror}; set ORCHESTRATOR_DATA_DIR"
        ) from error


def _import_parts() -> "Assemble":
    # Not at the top: it takes as long as the dev server takes to start, and runs beside it.
    with pace.without_pydantic_v1(), pace.late_models(), late_methods():
        from bootstrap.parts import assemble  # noqa: PLC0415 - see above

    return assemble


def _dev_server(
    settings: Settings, restart_unfinished: bool, after_restart: list[OnRestart]
) -> DevServer:
    async def restarted(info: DevServerInfo) -> None:
        for hook in after_restart:
            await hook(info)

    options = DevServerOptions(
        data_file=settings.data_dir / "temporal.db",
        port=settings.temporal_port,
        ui_port=settings.temporal_ui_port,
        namespace=own_namespace(),
        restart_unfinished=restart_unfinished,
    )
    return DevServer(options, restarted)


def _stop_on_signal() -> asyncio.Event:
    """Return an event that the first SIGINT or SIGTERM sets; a second one kills."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked, number)
    return stop


async def _until_stopped(stop: asyncio.Event, watched: list[asyncio.Task[None]]) -> bool:
    """Wait for a signal or for a part that ends on its own; return whether one failed."""
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({waiting, *watched}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    failed = False
    for task in done - {waiting}:
        failed = True
        error = task.exception() if not task.cancelled() else None
        _log.error("%s ended: %s", task.get_name(), error or "no reason given")
    return failed


def _has_live_api(data_dir: Path) -> bool:
    """Whether the folder's file says where a living API is, which a worker must not hide."""
    try:
        said = json.loads((data_dir / "endpoints.json").read_text())
        os.kill(int(said["pid"]), 0)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return said.get("api") is not None


def _write_endpoints(data_dir: Path, endpoints: Endpoints) -> None:
    shown = {key: asdict(endpoints)[key] for key in ("api", "temporal", "temporal_ui", "pid")}
    target = data_dir / "endpoints.json"
    scratch = target.with_suffix(".tmp")
    scratch.write_text(json.dumps(shown))
    scratch.replace(target)


def _remove_endpoints(data_dir: Path) -> None:
    target = data_dir / "endpoints.json"
    with contextlib.suppress(OSError, ValueError):
        if json.loads(target.read_text()).get("pid") == os.getpid():
            target.unlink()
