"""Fixtures: a Temporal server apart for all tests here, an effect ledger, worlds, a seed."""

import os
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bootstrap.logs.telemetry import forward_core_logs
from tests.contract.store_engines import PostgresServer
from tests.rig.temporal import TemporalServer
from tests.rig.world import World
from tests.stub.ledger import Ledger

MakeWorld = Callable[..., World]
LedgerAt = tuple[Ledger, str]
"""An effect ledger and where tools find it."""


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    forward_core_logs()
    server = TemporalServer(tmp_path_factory.mktemp("temporal")).start()
    yield server
    server.close()


@pytest.fixture
async def own_server(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    """A Temporal server that no other test uses."""
    server = TemporalServer(tmp_path).start()
    yield server
    server.close()


@pytest.fixture
async def ledger() -> AsyncIterator[LedgerAt]:
    """Return an effect ledger and where tools find it."""
    ledger = Ledger()
    async with ledger.serve() as server:
        yield ledger, server.url


@pytest.fixture
async def world(temporal: TemporalServer, tmp_path: Path) -> AsyncIterator[World]:
    """Return a world on the shared Temporal server."""
    async with World(tmp_path / "world", temporal.address) as made:
        yield made


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
async def postgres_world(
    postgres: PostgresServer, temporal: TemporalServer, tmp_path: Path
) -> AsyncIterator[World]:
    """Return a world on PostgreSQL."""
    url = postgres.url(await postgres.new_database()).url
    settings = {"ORCHESTRATOR_POOL_SIZE": "5"}
    async with World(tmp_path / "pg", temporal.address, url, settings) as made:
        yield made


@pytest.fixture
def seed() -> int:
    """Print the seed of a test; FAULT_SEED repeats one."""
    chosen = int(os.environ.get("FAULT_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"FAULT_SEED={chosen}")
    return chosen


def sse_words(count: int, **more: Any) -> str:
    """Return a script that says so many words, with pauses."""
    pairs = {"tokens": count, "gap_ms": 20, **more}
    return " ".join(f"{name}={value}" for name, value in pairs.items())
