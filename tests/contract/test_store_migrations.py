"""A database is brought to this release's schema: whole, once, and by whoever comes first."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, create_engine, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

import adapters.store
from adapters.store.database.urls import Database, PostgresUrl, SqliteFile
from adapters.store.schema import migrate
from adapters.store.schema.head import head_sql
from adapters.store.schema.migrate import HEAD, HEAD_SQL, upgrade
from adapters.store.schema.revisions import apply_to_sqlite
from adapters.store.schema.tables import metadata
from domain.errors import SetupError, StoreUnavailableError
from tests.contract.store_engines import PostgresServer, open_box
from tests.contract.store_scenes import new_run

FOLDER = Path(adapters.store.__file__).parent / "migrations"
_PG_COLUMNS = (
    "SELECT table_name, column_name, data_type, is_nullable, column_default"
    " FROM information_schema.columns WHERE table_schema = 'public'"
)
_PG_INDEXES = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
_PG_CONSTRAINTS = (
    "SELECT conname, conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
    " WHERE connamespace = 'public'::regnamespace"
)


@pytest.fixture
async def empty(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Database]:
    """A database with nothing in it."""
    if kind == "sqlite":
        yield SqliteFile(tmp_path / "new" / "a b%20.db")
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = await server.new_database("template1")
    yield server.url(name)
    await server.drop_database(name)


def ours(rows: Sequence[Any]) -> list[tuple[str, ...]]:
    made = [tuple(map(str, row)) for row in rows]
    return sorted(row for row in made if not any("alembic_version" in cell for cell in row))


def describe(connection: Connection, kind: str) -> list[list[tuple[str, ...]]]:
    """Everything a database knows of its schema."""
    if kind == "sqlite":
        tables = [table.name for table in metadata.sorted_tables]
        queries = [f"PRAGMA table_xinfo({table})" for table in tables]
        queries += [
            f"SELECT name, \"unique\", origin, partial FROM pragma_index_list('{table}')"
            for table in tables
        ]
        queries += ["SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"]
        queries += ["SELECT name, wr, strict FROM pragma_table_list WHERE schema = 'main'"]
    else:
        queries = [_PG_COLUMNS, _PG_INDEXES, _PG_CONSTRAINTS]
    return [ours(connection.execute(text(query)).all()) for query in queries]


async def description(database: Database) -> list[list[tuple[str, ...]]]:
    if isinstance(database, SqliteFile):
        engine = create_engine(URL.create("sqlite", database=str(database.path)))
        with engine.connect() as connection:
            found = describe(connection, "sqlite")
        engine.dispose()
        return found
    pg = create_async_engine(database.url)
    async with pg.connect() as connection:
        found = await connection.run_sync(describe, "postgres")
    await pg.dispose()
    return found


async def create_from_schema(database: Database, *names: str) -> None:
    """Make the named tables of the schema, or all of them."""
    tables = [metadata.tables[name] for name in names] or None
    if isinstance(database, SqliteFile):
        database.path.parent.mkdir(exist_ok=True)
        engine = create_engine(URL.create("sqlite", database=str(database.path)))
        metadata.create_all(engine, tables)
        engine.dispose()
        return
    pg = create_async_engine(database.url)
    async with pg.begin() as connection:
        await connection.run_sync(metadata.create_all, tables)
    await pg.dispose()


async def table_names(database: Database) -> list[str]:
    if isinstance(database, SqliteFile):
        engine = create_engine(URL.create("sqlite", database=str(database.path)))
        found = inspect(engine).get_table_names()
        engine.dispose()
        return found
    pg = create_async_engine(database.url)
    async with pg.connect() as connection:
        found = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await pg.dispose()
    return found


async def clear(database: Database) -> None:
    if isinstance(database, SqliteFile):
        database.path.unlink()
        return
    pg = create_async_engine(database.url)
    async with pg.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    await pg.dispose()


async def set_version(database: Database, version: str) -> None:
    box = open_box("sqlite" if isinstance(database, SqliteFile) else "postgres", database)
    await box.set("UPDATE alembic_version SET version_num = :version", version=version)
    await box.engine.close()


async def test_the_revisions_make_exactly_the_schema(empty: Database) -> None:
    await create_from_schema(empty)
    wanted = await description(empty)
    await clear(empty)

    if isinstance(empty, SqliteFile):
        apply_to_sqlite(empty.path, 5)
    else:
        await asyncio.to_thread(upgrade, empty)

    assert await description(empty) == wanted
    assert any(wanted)


def test_a_new_file_is_made_as_the_revisions_would(tmp_path: Path) -> None:
    sql = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY rowid"
    apply_to_sqlite(tmp_path / "revised.db", 5)
    upgrade(tmp_path / "new.db")

    found = []
    for name in ("new.db", "revised.db"):
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            found.append(connection.execute(sql).fetchall())

    assert head_sql() == HEAD_SQL.read_text(), "run: python -m adapters.store.schema.head"
    assert found[0] == found[1]


def test_a_file_that_cannot_be_made_whole_stays_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half.sql").write_text("CREATE TABLE a (b TEXT);\nCREATE NONSENSE;\n")
    monkeypatch.setattr(migrate, "HEAD_SQL", tmp_path / "half.sql")

    with pytest.raises(StoreUnavailableError):
        upgrade(tmp_path / "a.db")

    with closing(sqlite3.connect(tmp_path / "a.db")) as connection:
        assert connection.execute("SELECT * FROM sqlite_master").fetchall() == []


def test_head_is_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)

    assert script.get_heads() == [HEAD]
    assert [revision.revision for revision in script.walk_revisions()] == [
        f"{number:04}" for number in range(int(HEAD), 0, -1)
    ]


async def test_an_upgrade_can_be_repeated_and_keeps_what_is_there(
    empty: Database, kind: str
) -> None:
    await asyncio.to_thread(upgrade, empty)
    box = open_box(kind, empty)
    await box.runs.accept(new_run("run_1"))
    await box.engine.close()

    await asyncio.to_thread(upgrade, empty)

    box = open_box(kind, empty)
    assert (await box.runs.get_run(None, "run_1")).run_id == "run_1"
    await box.engine.close()


async def test_processes_that_start_together_do_not_disturb_each_other(empty: Database) -> None:
    with ThreadPoolExecutor(6) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(pool, upgrade, empty) for _ in range(6)))

    assert any(await description(empty))


async def test_a_database_of_a_newer_release_is_refused(empty: Database) -> None:
    await asyncio.to_thread(upgrade, empty)
    await set_version(empty, "9999")

    with pytest.raises(SetupError, match="newer release"):
        await asyncio.to_thread(upgrade, empty)


async def test_an_upgrade_that_fails_leaves_nothing_behind(empty: Database) -> None:
    """Half a schema would be worse than none; here the last table is in the way."""
    await create_from_schema(empty, "leases")

    with pytest.raises((SetupError, StoreUnavailableError)):
        await asyncio.to_thread(upgrade, empty)

    assert await table_names(empty) == ["leases"]


def test_any_form_of_location_is_taken(tmp_path: Path) -> None:
    upgrade(tmp_path / "a.db")
    upgrade(f"sqlite:///{tmp_path}/b.db")
    upgrade(SqliteFile(tmp_path / "c.db"))

    assert {path.name for path in tmp_path.glob("*.db")} == {"a.db", "b.db", "c.db"}


def test_a_database_that_is_up_to_date_costs_almost_nothing(tmp_path: Path) -> None:
    """One query and no Alembic: this is part of every start. Nor does a new file need it."""
    upgrade(tmp_path / "a.db")
    script = (
        "import sys, pathlib; from adapters.store.schema.migrate import upgrade;"
        "[upgrade(pathlib.Path(path)) for path in sys.argv[1:]];"
        "print([name for name in ('alembic', 'sqlalchemy', 'asyncpg') if name in sys.modules])"
    )

    found = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.db"), str(tmp_path / "new.db")],
        capture_output=True,
        check=True,
        text=True,
    )

    assert found.stdout.strip() == "[]"


def test_what_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database at all " * 100)

    with pytest.raises(SetupError, match="not usable"):
        upgrade(tmp_path / "notes.txt")
    with pytest.raises(SetupError, match="cannot open or make"):
        upgrade(tmp_path / "notes.txt" / "x.db")


def test_a_file_that_stays_locked_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")

    with pytest.raises(StoreUnavailableError, match="locked"):
        upgrade(tmp_path / "a.db")
    holder.close()
    upgrade(tmp_path / "a.db")


def test_an_upgrade_waits_for_who_holds_the_file(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "a.db").execute("PRAGMA journal_mode=WAL").connection.close()
    holder = sqlite3.connect(tmp_path / "a.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN IMMEDIATE")

    with ThreadPoolExecutor(1) as pool:
        upgrading = pool.submit(upgrade, tmp_path / "a.db")
        time.sleep(0.3)
        assert not upgrading.done()
        holder.execute("ROLLBACK")
        upgrading.result(timeout=10)
    holder.close()


def test_a_server_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    nobody = "the PostgreSQL database socket/d cannot be reached .*check DATABASE_URL"
    with pytest.raises(StoreUnavailableError, match=nobody):
        upgrade(PostgresUrl(f"postgresql+asyncpg://u:secret@/d?host={tmp_path}"))
    with pytest.raises(StoreUnavailableError) as refused:
        upgrade("postgresql://u:secret@127.0.0.1:1/d")
    assert str(refused.value) == (
        "the PostgreSQL database 127.0.0.1:1/d cannot be reached (Connection refused); check"
        " DATABASE_URL"
    )


def test_a_database_that_does_not_exist_is_a_matter_of_setup(
    postgres_server: PostgresServer,
) -> None:
    with pytest.raises(SetupError, match="does not exist"):
        upgrade(postgres_server.url("nowhere"))
