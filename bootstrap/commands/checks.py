"""What `doctor` looks at. Nothing is started, built, downloaded or changed."""

import asyncio
import importlib.metadata
import os
import platform
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from adapters.llm.catalog import Catalog
from adapters.store.database.urls import PostgresUrl, SqliteFile, parse_database_url
from bootstrap.agents_file import FILE_NAME, read_agents_file
from bootstrap.capabilities import provider_config
from bootstrap.commands.servers import find_running
from bootstrap.devserver.binary import read_sidecar
from bootstrap.exposure import is_loopback
from bootstrap.private import is_open_to_others
from bootstrap.settings import Settings
from domain.errors import ModelNotConfiguredError, OrchestratorError
from domain.snapshot import OFFLINE

State = Literal["ok", "note", "warn", "fail"]
_SDK_SECONDS = 5.0
_PACKAGES = ("temporalio", "fastapi", "sqlalchemy", "anthropic", "openai", "asyncpg")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `fail` keeps an orchestrator from starting."""

    what: str
    state: State
    said: str

    def as_json(self) -> dict[str, str]:
        """Return the finding as a plain object."""
        return asdict(self)


def check_all(settings: Settings) -> list[Finding]:
    """Look at everything, in the order in which a start would need it."""
    running = find_running(settings.data_dir)
    checks: tuple[Callable[[Settings], Finding], ...] = (
        _python,
        _data_folder,
        _store,
        _temporal,
        _providers,
        _agents,
        _keys,
    )
    found = [check(settings) for check in checks]
    if running:
        return [*found, Finding("running", "ok", f"an orchestrator serves {running}")]
    return [*found, *_ports(settings)]


def versions() -> dict[str, str]:
    """Return the versions of this program and of what it stands on."""
    found = {"orchestrator": _version("durable-orchestrator") or "unknown"}
    found["python"] = platform.python_version()
    for package in _PACKAGES:
        found[package] = _version(package) or "not installed"
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python(_settings: Settings) -> Finding:
    text = f"{platform.python_version()}, orchestrator {_version('durable-orchestrator')}"
    return Finding("python", "ok" if sys.version_info >= (3, 11) else "fail", text)


def _data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
        return Finding("data folder", "fail", f"{existing} cannot be written to")
    free = shutil.disk_usage(existing).free
    text = f"{folder}, {free / 1e9:.1f} GB free"
    if existing == folder and is_open_to_others(folder):
        return Finding("data folder", "warn", f"{text}; others may read it: chmod 700 {folder}")
    return Finding("data folder", "ok" if free > 500_000_000 else "warn", text)


def _store(settings: Settings) -> Finding:
    try:
        database = parse_database_url(settings.database)
        if isinstance(database, SqliteFile):
            return _sqlite(database.path)
        return _postgres(database)
    except OrchestratorError as error:
        return Finding("store", "fail", error.message)


def _sqlite(path: Path) -> Finding:
    if not path.exists():
        return Finding("store", "ok", f"SQLite, {path} is made at the first start")
    import sqlite3  # noqa: PLC0415 - only here

    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            runs = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
        connection.close()
    except sqlite3.Error as error:
        return Finding("store", "fail", f"SQLite, {path}: {error}")
    return Finding(
        "store", "ok", f"SQLite, {path}: {runs} runs, {path.stat().st_size / 1e6:.1f} MB"
    )


def _postgres(database: PostgresUrl) -> Finding:
    if _version("asyncpg") is None:
        return Finding("store", "fail", "PostgreSQL needs the extra: uv sync --extra postgres")
    import asyncpg  # noqa: PLC0415 - only here

    async def ask() -> str:
        connection = await asyncpg.connect(database.libpq, timeout=_SDK_SECONDS)
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()

    try:
        return Finding("store", "ok", f"PostgreSQL {asyncio.run(ask())}: {database}")
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        return Finding("store", "fail", f"{database}: {error or 'no answer'}")


def _temporal(settings: Settings) -> Finding:
    from bootstrap.temporal_config import load_connect_config  # noqa: PLC0415 - 0.6 s

    try:
        load_connect_config()
    except OrchestratorError as error:
        return Finding("temporal", "fail", error.message)
    address = os.environ.get("TEMPORAL_ADDRESS")
    return _cluster(address) if address else _own_server(settings)


def _own_server(settings: Settings) -> Finding:
    # Heavy, and only here.
    from bootstrap.devserver.find import Search  # noqa: PLC0415 - see above

    data_file = settings.data_dir / "temporal.db"
    try:
        search = Search(data_file, read_sidecar(data_file))
        binary = search.at_hand()
    except OrchestratorError as error:
        return Finding("temporal", "fail", error.message)
    if binary is None:
        tried = "; ".join(search.failures)
        text = f"no dev server is at hand: `make setup` downloads or builds one ({tried})"
        return Finding("temporal", "warn", text)
    return Finding("temporal", "ok", f"dev server {binary.server_version}, {binary.path}")


def _cluster(address: str) -> Finding:
    from temporalio.service import RPCError  # noqa: PLC0415 - 0.6 s

    from bootstrap.engine import reason_of  # noqa: PLC0415
    from bootstrap.logs.telemetry import forward_core_logs  # noqa: PLC0415
    from bootstrap.temporal_config import load_connect_config, refused  # noqa: PLC0415 - as above

    async def ask() -> str:
        from temporalio.api.workflowservice.v1 import GetSystemInfoRequest  # noqa: PLC0415
        from temporalio.client import Client  # noqa: PLC0415

        client = await Client.connect(**load_connect_config())
        info = await client.workflow_service.get_system_info(GetSystemInfoRequest())
        return f"cluster at {address}, server {info.server_version}, namespace {client.namespace}"

    forward_core_logs()
    try:
        return Finding("temporal", "ok", asyncio.run(asyncio.wait_for(ask(), _SDK_SECONDS)))
    except ValueError as error:
        return Finding("temporal", "fail", refused(error).message)
    except (RuntimeError, RPCError, TimeoutError, OSError) as error:
        return Finding("temporal", "fail", f"{address} does not answer: {reason_of(error)}")


def _providers(settings: Settings) -> Finding:
    catalog = Catalog(provider_config(settings))
    names = catalog.configured()
    if names == [OFFLINE]:
        return Finding(
            "models", "note", "offline only: no ANTHROPIC_API_KEY, OPENAI_API_KEY, OLLAMA_HOST"
        )
    for name in names:
        try:
            catalog.resolve(f"{name}/any")
        except (ModelNotConfiguredError, ValueError) as error:
            return Finding("models", "warn", f"{name} cannot be asked: {error}")
    return Finding("models", "ok", ", ".join(names))


def _agents(settings: Settings) -> Finding:
    path = settings.data_dir / FILE_NAME
    if not path.exists():
        return Finding("agents", "ok", f"{path} is made at the first start")
    try:
        # Heavy, and not for `--help`.
        from bootstrap.capabilities import build_capabilities  # noqa: PLC0415

        can = build_capabilities(settings, None)
        found = read_agents_file(path, 0, can.check_agent)
    except OrchestratorError as error:
        return Finding("agents", "fail", error.message)
    return Finding("agents", "ok", f"{path}: {', '.join(agent.agent_id for agent in found)}")


def _keys(settings: Settings) -> Finding:
    where = f"the API listens on {settings.host}"
    if is_loopback(settings.host):
        return Finding("access", "ok", f"{where}: this machine only")
    return Finding("access", "note", f"{where}: it starts only if there is a key (`keys list`)")


def _ports(settings: Settings) -> Iterator[Finding]:
    wanted = [("port of the API", settings.host, settings.port)]
    if not os.environ.get("TEMPORAL_ADDRESS"):
        wanted += [
            ("port of Temporal", "127.0.0.1", settings.temporal_port),
            ("port of its UI", "127.0.0.1", settings.temporal_ui_port),
        ]
    for what, host, port in wanted:
        yield _port(what, host, port)


def _port(what: str, host: str, port: int) -> Finding:
    if port == 0:
        return Finding(what, "ok", "any free one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probed:
        probed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probed.bind((host, port))
        except OSError as error:
            return Finding(what, "fail", f"{host}:{port} cannot be used: {error.strerror}")
    return Finding(what, "ok", f"{host}:{port} is free")
