"""Fixtures of the contract tests: `store` is a store on each database in turn."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from adapters.store.database.urls import Database
from tests.contract.kept_engines import KeptEngines
from tests.contract.lasting_loop import LastingLoop
from tests.contract.store_engines import PostgresServer, SqliteTemplate, StoreBox, open_box

KINDS = ("sqlite", "postgres")
Loops = Callable[[], asyncio.AbstractEventLoop]


@functools.cache
def the_loop() -> LastingLoop:
    return LastingLoop()


def pytest_asyncio_loop_factories(item: pytest.Function) -> dict[str, Loops]:
    """Tests on a database share one loop: what is connected in it stays so."""
    if "database" in item.fixturenames:
        return {"lasting": lambda: the_loop().reopened()}
    return {"own": asyncio.new_event_loop}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Trace a law on SQLite alone where it is held on both: the store's lines are the same."""
    names = {item.nodeid for item in items}
    for item in items:
        twin = item.nodeid.replace("postgres", "sqlite", 1)
        if twin != item.nodeid and twin in names:
            item.add_marker(pytest.mark.untraced)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> SqliteTemplate:
    return SqliteTemplate(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session", autouse=True)
def lasting_loop() -> Iterator[LastingLoop]:
    yield the_loop()
    the_loop().end()


@pytest.fixture(scope="session")
def kept_engines(
    lasting_loop: LastingLoop, postgres_server: PostgresServer
) -> Iterator[KeptEngines]:
    engines = KeptEngines()
    yield engines
    lasting_loop.run_until_complete(engines.close())


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The database of this test. What it needs is started here, outside the event loop."""
    needed = {"sqlite": "sqlite_template", "postgres": "kept_engines"}
    request.getfixturevalue(needed[request.param])
    return str(request.param)


@pytest.fixture
async def database(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Database]:
    """A migrated and empty database."""
    if kind == "sqlite":
        template: SqliteTemplate = request.getfixturevalue("sqlite_template")
        yield template.copy_to(tmp_path / "store.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    engines: KeptEngines = request.getfixturevalue("kept_engines")
    name = await server.borrow_database()
    yield server.url(name)
    if not await server.takes_back(name):
        await engines.drop(server.url(name))
        await server.drop_database(name)


@pytest.fixture
async def store(
    kind: str, database: Database, request: pytest.FixtureRequest
) -> AsyncIterator[StoreBox]:
    """A store on a migrated and empty database; on PostgreSQL with connections of tests before."""
    if kind == "sqlite":
        box = open_box(kind, database)
        yield box
        await box.engine.close()
        return
    engines: KeptEngines = request.getfixturevalue("kept_engines")
    box = open_box(kind, database, engines.take)
    yield box
    await engines.give_back(box.engine)
