"""Fixtures: a dev server for all tests here, and a stage for each."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from adapters.store.database.urls import SqliteFile
from adapters.store.schema.migrate import upgrade
from bootstrap.logs.telemetry import forward_core_logs
from tests.rig.temporal import TemporalServer
from tests.rig.tools import TARGETS
from tests.workflows.stage import Stage, connect, open_stage

Make = Callable[..., AbstractAsyncContextManager[Stage]]


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    forward_core_logs()
    server = TemporalServer(tmp_path_factory.mktemp("temporal")).start()
    asyncio.run(prepare(server.address))
    yield server
    server.close()


async def prepare(address: str) -> None:
    await connect(address)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated and empty database, to be copied."""
    path = tmp_path_factory.mktemp("store") / "empty.db"
    upgrade(SqliteFile(path))
    return path


@pytest.fixture
def make_stage(temporal: TemporalServer, empty_store: Path, tmp_path: Path) -> Make:
    """Set stages on the shared server; each has a store of its own unless it is named."""
    count = iter(range(100))

    def make(store: Path | None = None, **options: Any) -> AbstractAsyncContextManager[Stage]:
        if store is None:
            store = tmp_path / f"store-{next(count)}.db"
            store.write_bytes(empty_store.read_bytes())
        is_shared = "address" not in options
        address = options.pop("address", temporal.address)
        return open_stage(address, tmp_path, store, is_prepared=is_shared, **options)

    return make


@pytest.fixture
async def stage(make_stage: Make) -> AsyncIterator[Stage]:
    async with make_stage() as made:
        yield made


@pytest.fixture
async def house(make_stage: Make) -> AsyncIterator[Stage]:
    """A stage with agents that have others work for them."""
    async with make_stage(tools=TARGETS) as made:
        await made.agent(tools=["spawn_run", "calculator"])
        await made.agent("worker", tools=["spawn_run", "calculator", "hang"])
        yield made
