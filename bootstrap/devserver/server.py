"""The embedded Temporal server: found, locked, started, watched, restarted and stopped last.

Knows nothing of what runs on it: namespace and search attributes are temporal_setup.py's.

Source: DESIGN 4, reference/engine.md 1.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.devserver.binary import Binary, read_sidecar, set_aside, write_sidecar
from bootstrap.devserver.find import Search, to_stderr
from bootstrap.devserver.lock import DataLock
from bootstrap.devserver.process import (
    ServerProcess,
    answers,
    choose_endpoint,
    command_line,
)
from bootstrap.go_build import Report
from domain.errors import SetupError

if TYPE_CHECKING:
    from temporalio.runtime import Runtime

_log = logging.getLogger(__name__)

READY_TIMEOUT = timedelta(seconds=30)
"""How long a server may take until its health check answers (0.4 s here; a cold disk is slow)."""

STOP_GRACE = timedelta(seconds=5)
"""How long a server may take to end after SIGTERM (it needs up to 3 s)."""

_POLL_SECONDS = 0.01
"""Pause between two looks at a starting server: a longer one would be start-up time."""

_STABLE_SECONDS = 10.0
"""A server that lived this long and dies is a new accident, not the same one again."""

_MAX_RESTARTS = 5
"""Restarts in a row, none of which lived `_STABLE_SECONDS`, before we give up."""

_BACKOFF_SECONDS = 0.1
"""Added to the pause before each further restart in a row; the first restart waits for nothing."""

_SPAWN_TRIES = 3
"""A port that was free a moment ago may be gone: those that we chose are chosen again."""


@dataclass(frozen=True)
class DevServerOptions:
    """How to run the server.

    Args:
        data_file: The SQLite file; lock, sidecar and log stand beside it.
        port: The gRPC port; 0 picks a free one.
        ui_port: The Temporal UI's port; 0 picks a free one, None leaves the UI off.
        restart_unfinished: Keep a data file of another version and start on a new one.
        report: Takes lines of progress while a binary is downloaded or built.
    """

    data_file: Path
    port: int = 0
    ui_port: int | None = 0
    ip: str = "127.0.0.1"
    namespace: str = "default"
    restart_unfinished: bool = False
    report: Report = to_stderr


@dataclass(frozen=True)
class DevServerInfo:
    """A server that answers."""

    address: str
    ui_url: str | None
    side_ports: tuple[int, int]
    """Of its HTTP API and its metrics."""
    version: str
    """The server's version, such as 1.31.2, not the CLI's."""
    pid: int
    is_new_file: bool
    """The data file did not exist before: whatever ran on an earlier one is not known here."""
    ended_leftover: int | None = None
    """The process id of a server that a dead orchestrator had left running; it is ended."""
    set_aside: Path | None = None
    """Where a data file of another version is kept, if `restart_unfinished` moved one."""
    restarts: int = 0
    """How often the server died and was started again since `DevServer.start`."""


OnRestart = Callable[[DevServerInfo], Awaitable[None]]
"""Called with the restarted server, to set it up again and to reconcile."""


class DevServer:
    """The server as this process's child: `start`, keep `watch` running, `stop` last of all.

    `start` is `spawn` and `wait_ready`: a caller in a hurry imports its own modules in between.
    """

    def __init__(self, options: DevServerOptions, on_restart: OnRestart | None = None) -> None:
        self._options = options
        self._on_restart = on_restart
        self._lock = DataLock(options.data_file)
        self._process: ServerProcess | None = None
        self._binary: Binary | None = None
        self._info: DevServerInfo | None = None
        self._runtime: Runtime | None = None
        self._is_stopping = False

    async def start(self) -> DevServerInfo:
        """Start the server and wait until it answers.

        Raises:
            SetupError: another orchestrator serves this file, the file was written by another
                version or by nobody knows which (it is untouched), there is no server to start, a
                port that was named is in use, or the server was started and did not become ready.
        """
        await self.spawn()
        return await self.wait_ready()

    async def spawn(self) -> None:
        """Start the server without waiting for it. Raises as `start`."""
        leftover = self._lock.acquire()
        try:
            binary, kept = await asyncio.to_thread(self._choose_binary)
            is_new_file = not self._options.data_file.exists()
            if is_new_file:
                write_sidecar(self._options.data_file, binary)
            self._binary = binary
            self._info = DevServerInfo(
                address="",
                ui_url=None,
                side_ports=(0, 0),
                version=binary.server_version,
                pid=0,
                is_new_file=is_new_file,
                ended_leftover=leftover,
                set_aside=kept,
            )
            await self._launch(self._options.port, self._options.ui_port)
        except BaseException:
            self._lock.release()
            raise

    async def wait_ready(self, runtime: "Runtime | None" = None) -> DevServerInfo:
        """Wait until the server's health check answers.

        Args:
            runtime: The process's Temporal runtime, asked for here and after restarts; without
                one the SDK makes its default, whose warnings go to stdout.

        Raises:
            SetupError: it ended or stayed silent; it is stopped and the lock released.
        """
        self._runtime = runtime
        try:
            tries = 1
            while not await self._becomes_ready():
                if tries == _SPAWN_TRIES:
                    raise self._failed("ended while it started")
                tries += 1
                await self._launch(self._options.port, self._options.ui_port)
        except SetupError:
            await self.stop()
            raise
        self._note_writer()
        return self.info

    @property
    def info(self) -> DevServerInfo:
        """The server as it is now; what does not change survives its restarts."""
        assert self._info is not None, "spawn() comes first"
        return self._info

    async def watch(self) -> None:
        """Restart the server whenever it dies, until `stop`; a task for the process's whole life.

        Raises:
            SetupError: it keeps dying, or did not come back.
        """
        in_a_row = 0
        while True:
            started = time.monotonic()
            code = await self.wait_dead()
            if self._is_stopping:
                return
            lived = time.monotonic() - started
            in_a_row = 1 if lived >= _STABLE_SECONDS else in_a_row + 1
            if in_a_row > _MAX_RESTARTS:
                raise self._failed(f"died {in_a_row} times within seconds (exit code {code})")
            _log.warning("the Temporal server died (exit code %s): starting it again", code)
            await asyncio.sleep(_BACKOFF_SECONDS * (in_a_row - 1))
            await self._restart()

    async def wait_dead(self) -> int:
        """Wait until the current server process ends, for whatever reason; return its exit code."""
        return await self._running().wait_dead()

    async def stop(self, grace: timedelta = STOP_GRACE) -> None:
        """End the server and give the data file up. Zero grace kills at once and loses nothing."""
        self._is_stopping = True
        if self._process is not None:
            await self._process.stop(grace)
        self._lock.release()

    def _choose_binary(self) -> tuple[Binary, Path | None]:
        """Return the binary to start, and where a file of another version went."""
        data_file, report = self._options.data_file, self._options.report
        try:
            sidecar = read_sidecar(data_file)
        except SetupError:
            if not self._options.restart_unfinished:
                raise
            return Search(data_file, report=report).find(), set_aside(data_file, "unknown")
        search = Search(data_file, sidecar, report=report)
        try:
            return search.find(), None
        except SetupError:
            is_mismatch = sidecar is not None and search.other_version is not None
            if not (self._options.restart_unfinished and is_mismatch):
                raise
        assert sidecar is not None
        binary = Search(data_file, report=report).find()
        return binary, set_aside(data_file, sidecar.server_version)

    async def _launch(
        self, port: int, ui_port: int | None, side_ports: tuple[int, int] = (0, 0)
    ) -> None:
        assert self._binary is not None
        options = self._options
        endpoint = choose_endpoint(options.ip, port, ui_port, side_ports)
        self._process = await ServerProcess.spawn(
            command_line(self._binary.path, options.data_file, endpoint, options.namespace),
            options.data_file.with_name(options.data_file.name + ".log"),
        )
        self._lock.record(self._process.pid)
        self._info = replace(
            self.info,
            address=endpoint.address,
            ui_url=endpoint.ui_url,
            side_ports=endpoint.side_ports,
            pid=self._process.pid,
        )

    async def _becomes_ready(self) -> bool:
        """Poll until the server answers; False when it ended instead."""
        deadline = time.monotonic() + READY_TIMEOUT.total_seconds()
        while not await answers(self.info.address, self._runtime):
            if not self._running().is_running:
                return False
            if time.monotonic() > deadline:
                seconds = READY_TIMEOUT.total_seconds()
                raise self._failed(f"did not answer within {seconds:.0f} s")
            await asyncio.sleep(_POLL_SECONDS)
        return True

    async def _restart(self) -> None:
        """Start the same binary on the same ports, wait, and tell who wants to know."""
        address, ui_url = self.info.address, self.info.ui_url
        port, ui_port = _port_of(address), None if ui_url is None else _port_of(ui_url)
        await self._launch(port, ui_port, self.info.side_ports)
        self._info = replace(self.info, restarts=self.info.restarts + 1)
        if await self._becomes_ready() and self._on_restart is not None:
            await self._tell(self._on_restart)

    async def _tell(self, on_restart: OnRestart) -> None:
        """Run the callback, but not longer than the server lives: the next restart tells again."""
        telling = asyncio.ensure_future(on_restart(self.info))
        dying = asyncio.ensure_future(self.wait_dead())
        try:
            await asyncio.wait({telling, dying}, return_when=asyncio.FIRST_COMPLETED)
            if telling.done() and telling.exception() is not None:
                # The server's death makes the callback fail a moment before we hear of it.
                await asyncio.wait({dying}, timeout=1)
            if not dying.done():
                await telling
        finally:
            telling.cancel()
            dying.cancel()

    def _note_writer(self) -> None:
        """Keep the sidecar true when the same version is found in another place."""
        assert self._binary is not None
        sidecar = read_sidecar(self._options.data_file)
        if sidecar is None or sidecar.binary != str(self._binary.path):
            write_sidecar(self._options.data_file, self._binary)

    def _running(self) -> ServerProcess:
        assert self._process is not None, "spawn() comes first"
        return self._process

    def _failed(self, what: str) -> SetupError:
        return SetupError(
            f"The Temporal server {self.info.version} {what}. The end of its log "
            f"({self._options.data_file}.log): {self._running().log_end()}"
        )


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2])
