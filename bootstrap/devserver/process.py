"""The server as a child process: its command line, its ports, its start and its end.

Knows nothing of locks, versions and restarts: server.py decides those.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bootstrap.devserver import launch
from bootstrap.private import open_private
from domain.errors import SetupError

if TYPE_CHECKING:
    from temporalio.runtime import Runtime

_PRAGMAS = {
    # The server's own defaults are a rollback journal and a full sync per commit: half the runs/s.
    "journal_mode": "WAL",
    "synchronous": "NORMAL",
    "busy_timeout": "5000",
}

_DYNAMIC_CONFIG: Mapping[str, str] = {
    # Defaults change between servers: say what matters. Source: reference/engine.md 1.4, 1.6.
    "system.enableActivityEagerExecution": "true",
    "system.enableEagerWorkflowStart": "true",
    "matching.useNewMatcher": "true",
    "matching.enableFairness": "true",
    "frontend.WorkerHeartbeatsEnabled": "true",
    # Else a task handed to a poll that its stopping worker has just left waits for its timeout.
    "frontend.enableCancelWorkerPollsOnShutdown": "true",
    # One shard reads its queues 20 times a second by default: each dispatch waited up to 50 ms.
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    # Visibility writes are batched instead: lists in the Temporal UI lag by at most 0.5 s.
    "history.visibilityProcessorMaxPollRPS": "2",
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    # At the default of 1 s a retry after 5 ms and a timer of 50 ms both take a second.
    "history.timerProcessorMaxTimeShift": '"10ms"',
    # Else a continue-as-new of a run younger than 1 s waits until it is 1 s old.
    "history.workflowIdReuseMinimalInterval": '"0s"',
}

_ROTATE_BYTES = 10_000_000
"""A log longer than this is set aside at the next start; one older log is kept."""

_KILL_WAIT = timedelta(seconds=5)
"""How long a killed process may take to vanish."""


@dataclass(frozen=True)
class Endpoint:
    """Where the server listens."""

    ip: str
    port: int
    ui_port: int | None
    http_port: int
    """Of its HTTP API, which nobody uses and nobody can switch off."""
    metrics_port: int

    @property
    def address(self) -> str:
        """The gRPC address, `host:port`."""
        return f"{self.ip}:{self.port}"

    @property
    def ui_url(self) -> str | None:
        """The Temporal UI's address, without a trailing slash; None when it is off."""
        return f"http://{self.ip}:{self.ui_port}" if self.ui_port else None

    @property
    def side_ports(self) -> tuple[int, int]:
        """The ports beside the gRPC port and the UI's."""
        return self.http_port, self.metrics_port


def choose_endpoint(
    ip: str, port: int, ui_port: int | None, side_ports: tuple[int, int] = (0, 0)
) -> Endpoint:
    """Fix the ports before the server starts: 0 picks a free one, `ui_port` None means no UI.

    Left alone the server would choose its side ports itself and tell nobody, so that nobody could
    keep agents away from them.

    Raises:
        SetupError: a port that was named is in use, or named twice.
    """
    if port and port == ui_port:
        raise SetupError(
            f"Port {port} is named for Temporal's server and for its UI: choose another for one."
        )
    return Endpoint(
        ip,
        free_port(ip, port, "Temporal's server"),
        None if ui_port is None else free_port(ip, ui_port, "Temporal's UI"),
        free_port(ip, side_ports[0], "Temporal's HTTP API"),
        free_port(ip, side_ports[1], "Temporal's metrics"),
    )


def own_namespace() -> str:
    """Return the namespace that our own server has and we use."""
    return os.environ.get("TEMPORAL_NAMESPACE") or "default"


def free_port(ip: str, port: int, who: str) -> int:
    """Return `port` if it is free, or any free one for 0.

    Raises:
        SetupError: it is in use; the message names `who` wanted it.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except OSError as taken:
            raise SetupError(
                f"Port {port} on {ip}, wanted for {who}, cannot be used ({taken.strerror}): stop "
                "the program that listens there, choose another port, or 0 for a free one."
            ) from taken
        chosen: int = probe.getsockname()[1]
        return chosen


def command_line(binary: Path, data_file: Path, endpoint: Endpoint, namespace: str) -> list[str]:
    """Return the whole command that serves one data file."""
    command = [
        *(str(binary), "server", "start-dev"),
        *("--db-filename", str(data_file)),
        *("--ip", endpoint.ip),
        *("--port", str(endpoint.port)),
        *("--http-port", str(endpoint.http_port)),
        *("--metrics-port", str(endpoint.metrics_port)),
        *("--namespace", namespace),
        *("--log-level", "warn", "--log-format", "json"),
    ]
    command += ["--ui-port", str(endpoint.ui_port)] if endpoint.ui_port else ["--headless"]
    for name, value in _PRAGMAS.items():
        command += ["--sqlite-pragma", f"{name}={value}"]
    for name, value in _DYNAMIC_CONFIG.items():
        command += ["--dynamic-config-value", f"{name}={value}"]
    return command


def _open_log(log_file: Path) -> BinaryIO:
    if log_file.exists() and log_file.stat().st_size > _ROTATE_BYTES:
        log_file.replace(log_file.with_name(log_file.name + ".1"))
    return open_private(log_file)


class ServerProcess:
    """One life of the server, from its start to its end."""

    def __init__(
        self, process: asyncio.subprocess.Process, log_file: Path, log_begins: int = 0
    ) -> None:
        self._process = process
        self._log_file = log_file
        self._log_begins = log_begins

    @classmethod
    async def spawn(
        cls, command: list[str], log_file: Path, environment: Mapping[str, str] | None = None
    ) -> "ServerProcess":
        """Start the server: it dies with this process, and a terminal's Ctrl-C does not reach it.

        The session of its own matters for the order of a shutdown: the server stops last.

        Args:
            command: The program and its arguments; the program by its whole path.
            log_file: Where its output is appended.
            environment: Its variables; by default ours without `TEMPORAL_*`, because a setting of
                the client, such as TEMPORAL_ADDRESS, must not reach the server's own CLI.
        """
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        if environment is None:
            environment = {k: v for k, v in os.environ.items() if not k.startswith("TEMPORAL_")}
        with _open_log(log_file) as log:
            log_begins = os.fstat(log.fileno()).st_size
            process = await asyncio.create_subprocess_exec(
                *(*launcher, launch.PRIVATE, *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        return cls(process, log_file, log_begins)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.returncode is None

    async def wait_dead(self) -> int:
        """Wait until the process ends; return its exit code, negative for a signal."""
        return await self._process.wait()

    async def stop(self, grace: timedelta) -> None:
        """End the server: SIGTERM, and SIGKILL when it is not gone after `grace`."""
        for number, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_WAIT)):
            if not self.is_running:
                return
            if wait <= timedelta(0):
                continue
            self._process.send_signal(number)
            try:
                async with asyncio.timeout(wait.total_seconds()):
                    await self._process.wait()
            except TimeoutError:
                continue

    def log_end(self, lines: int = 5) -> str:
        """Return the end of what this life of the server has logged, for an error message."""
        with self._log_file.open("rb") as log:
            log.seek(max(self._log_begins, self._log_file.stat().st_size - 4000))
            text = log.read().decode(errors="replace")
        return " | ".join(text.strip().splitlines()[-lines:])


async def answers(address: str, runtime: "Runtime | None" = None) -> bool:
    """Whether the frontend says that it serves. Cheap while nothing listens yet.

    Args:
        address: The gRPC address.
        runtime: The process's Temporal runtime; without one the SDK makes its default.
    """
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return await _is_healthy(address, runtime)


async def _is_healthy(address: str, runtime: "Runtime | None") -> bool:
    # Imported here: 0.6 s that pass while the server boots.
    from temporalio.service import ConnectConfig, RPCError, ServiceClient  # noqa: PLC0415

    try:
        client = await ServiceClient.connect(ConnectConfig(target_host=address, runtime=runtime))
        return await client.check_health(timeout=timedelta(seconds=1))
    except (RPCError, RuntimeError):
        return False
