"""Fixtures of the contract tests: `store` is a store on each database in turn."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.store.database.urls import Database
from tests.contract.store_engines import PostgresServer, SqliteTemplate, StoreBox, open_box

KINDS = ("sqlite", "postgres")


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


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """The database of this test. What it needs is started here, outside the event loop."""
    needed = {"sqlite": "sqlite_template", "postgres": "postgres_server"}
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
    name = await server.borrow_database()
    yield server.url(name)
    await server.give_back(name)


@pytest.fixture
async def store(kind: str, database: Database) -> AsyncIterator[StoreBox]:
    """A store on a migrated and empty database."""
    box = open_box(kind, database)
    yield box
    await box.engine.close()
