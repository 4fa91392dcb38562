"""A real Temporal server on PostgreSQL, as a process: its build, its schemas, its configuration.

The server's embedded configuration is driven by environment variables alone. Knows nothing of the
processes that use it.

Source: reference/engine.md 10.
"""

import asyncio
import os
import subprocess
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client

from bootstrap.cluster.postgres import PostgresAddress
from bootstrap.devserver.find import to_stderr
from bootstrap.devserver.process import ServerProcess, answers, free_port
from bootstrap.go_build import GoModule, build_module, cache_folder
from bootstrap.settings import Settings
from bootstrap.temporal_setup import create_namespace
from domain.errors import SetupError

SERVER = "1.31.2"
"""What tools/cluster/go.mod requires, and docker-compose.yml runs."""

_MODULE = GoModule(
    name="cluster",
    what=f"the Temporal server {SERVER} and its SQL tool from source (about 2 minutes on 2 cores)",
    packages=("go.temporal.io/server/cmd/server", "go.temporal.io/server/cmd/tools/sql"),
)

_PLUGIN = "postgres12"
_SCHEMAS = {"temporal": "temporal", "temporal_visibility": "visibility"}
"""Database name to the name of its schema."""

_GRPC_PORTS = ("HISTORY_GRPC_PORT", "MATCHING_GRPC_PORT", "WORKER_GRPC_PORT", "FRONTEND_HTTP_PORT")
_MEMBERSHIP_PORTS = (
    *("FRONTEND_MEMBERSHIP_PORT", "HISTORY_MEMBERSHIP_PORT"),
    *("MATCHING_MEMBERSHIP_PORT", "WORKER_MEMBERSHIP_PORT"),
)
_PORT_RANGE = (20_000, 32_000)
"""Where ports are chosen: membership ports are stored as a smallint, so the system's own choice,
mostly above 32,767, is refused. Free ones, so that a dev server may run beside the cluster."""

_READY_TIMEOUT = timedelta(seconds=120)
_STOP_GRACE = timedelta(seconds=15)

_DYNAMIC_CONFIG = Path(__file__).parents[2] / "deploy" / "temporal-dynamic.yaml"
"""What docker-compose.yml uses as well."""


class OwnTemporal:
    """One server process with all four services."""

    def __init__(self, folder: Path, postgres: PostgresAddress) -> None:
        self._folder = folder
        self._postgres = postgres
        self._process: ServerProcess | None = None

    async def start(self) -> str:
        """Start the server, create its namespace and return its address.

        Raises:
            SetupError: the server cannot be built, a schema could not be made, or the server did
                not become ready.
        """
        programs = await asyncio.to_thread(_built)
        for database, schema in _SCHEMAS.items():
            await asyncio.to_thread(self._make_database, programs / "sql", database, schema)
        port, *ports = _choose_ports(1 + len(_GRPC_PORTS) + len(_MEMBERSHIP_PORTS))
        self._process = await ServerProcess.spawn(
            [str(programs / "server"), "--allow-no-auth", "start"],
            self._folder / "temporal.log",
            self._environment(port, ports),
        )
        address = f"127.0.0.1:{port}"
        await self._wait_ready(address)
        client = await Client.connect(address)
        await create_namespace(client, timedelta(hours=Settings().retention_hours))
        return address

    async def stop(self) -> None:
        """End the server."""
        if self._process is not None:
            await self._process.stop(_STOP_GRACE)

    def _make_database(self, sql_tool: Path, database: str, schema: str) -> None:
        postgres = self._postgres
        login = [
            *("--plugin", _PLUGIN, "--ep", postgres.host, "-p", str(postgres.port)),
            *("-u", postgres.user, "--pw", "unused", "--db", database),
        ]
        for step in (
            ["create"],
            ["setup-schema", "-v", "0.0"],
            ["update-schema", "--schema-name", f"postgresql/v12/{schema}"],
        ):
            made = subprocess.run(  # noqa: S603 - our own build, our own arguments
                [sql_tool, *login, *step], capture_output=True, text=True, check=False
            )
            if made.returncode:
                raise SetupError(
                    f"The schema of {database} was not made ({step[0]}): {made.stderr[-400:]}"
                )

    def _environment(self, port: int, ports: list[int]) -> dict[str, str]:
        others = {k: v for k, v in os.environ.items() if not k.startswith("TEMPORAL_")}
        names = (*_GRPC_PORTS, *_MEMBERSHIP_PORTS)
        return {
            **others,
            **{name: str(number) for name, number in zip(names, ports, strict=True)},
            "FRONTEND_GRPC_PORT": str(port),
            "DB": _PLUGIN,
            "POSTGRES_SEEDS": self._postgres.host,
            "DB_PORT": str(self._postgres.port),
            "POSTGRES_USER": self._postgres.user,
            "POSTGRES_PWD": "unused",
            "DYNAMIC_CONFIG_FILE_PATH": str(_DYNAMIC_CONFIG),
            "BIND_ON_IP": "127.0.0.1",
            "TEMPORAL_BROADCAST_ADDRESS": "127.0.0.1",
            "LOG_LEVEL": "warn",
        }

    async def _wait_ready(self, address: str) -> None:
        assert self._process is not None
        try:
            async with asyncio.timeout(_READY_TIMEOUT.total_seconds()):
                while not await answers(address):
                    if not self._process.is_running:
                        break
                    await asyncio.sleep(0.05)
                else:
                    return
        except TimeoutError:
            pass
        raise SetupError(
            f"The Temporal server {SERVER} did not become ready: {self._process.log_end()}"
        )


def _choose_ports(count: int) -> list[int]:
    """Return free ports, starting where another cluster on this machine hardly does."""
    first, last = _PORT_RANGE
    candidates = range(first + os.getpid() * count % (last - first), last)
    chosen: list[int] = []
    for candidate in candidates:
        with suppress(SetupError):
            chosen.append(free_port("127.0.0.1", candidate, "Temporal"))
        if len(chosen) == count:
            return chosen
    raise SetupError(f"No {count} free ports between {first} and {last}.")


def _built() -> Path:
    """Return the folder with the programs, built if need be."""
    folder = cache_folder() / "cluster" / SERVER
    failure = build_module(_MODULE, folder, to_stderr)
    if failure and not (folder / "server").exists():
        raise SetupError(f"The Temporal server cannot be built: {failure.reason}.")
    return folder
