"""PostgreSQL through SQLAlchemy and asyncpg: the same units, each in a transaction of its own.

A unit is synchronous; SQLAlchemy bridges it onto the async driver. Viewers in other processes are
told by NOTIFY, once per flush window and not per event, because NOTIFY takes a lock that the whole
server shares at commit.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, TextClause, text
from sqlalchemy.event import listens_for
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from adapters.store.database.tx import Row, Unit, storable
from domain.errors import StoreFullError, StoreUnavailableError
from domain.event import StoredEvent

T = TypeVar("T")
_log = logging.getLogger(__name__)

CHANNEL = "orchestrator_events"
_NOTIFY_AGAIN_SECONDS = 1.0
NOTIFY_SECONDS = 0.01
_SERIALIZATION_STATES = {"40001", "40P01"}
_UNAVAILABLE_STATES = ("08", "28", "3D", "40", "53", "57")
"""Connection lost, not let in, no such database, conflict, out of resources, shutting down."""
_ATTEMPTS = 3
"""A unit that lost a deadlock, or its connection before it committed, is run again."""
_STATEMENTS = 1024
"""How many are kept: as text, and prepared by each connection. The store has hundreds."""


@lru_cache(maxsize=_STATEMENTS)
def _clause(sql: str) -> TextClause:
    return text(sql)


class PostgresTx:
    """A `Tx` over SQLAlchemy's synchronous facade of an asyncpg connection."""

    lock = " FOR UPDATE"
    octets = "octet_length({})"
    joined = "convert_to(string_agg({}, {} ORDER BY {}), 'UTF8')"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.committed: list[StoredEvent] = []

    def one(self, sql: str, **params: object) -> Row | None:
        row = self._connection.execute(_clause(sql), storable(params)).mappings().first()
        return cast("Row | None", row)

    def all(self, sql: str, **params: object) -> Sequence[Row]:
        return cast(
            "Sequence[Row]",
            self._connection.execute(_clause(sql), storable(params)).mappings().all(),
        )

    def tuples(self, sql: str, **params: object) -> Sequence[tuple[Any, ...]]:
        return self._connection.execute(_clause(sql), storable(params)).all()

    def run(self, sql: str, **params: object) -> int:
        return self._connection.execute(_clause(sql), storable(params)).rowcount


class PostgresEngine:
    """An `Engine` on a PostgreSQL database.

    Args:
        url: an SQLAlchemy URL with the asyncpg driver.
        on_commit: called in the event loop with the events of each committed unit.
        pool_size: connections kept; as many again may overflow.
    """

    def __init__(
        self, url: str, on_commit: Callable[[list[StoredEvent]], None], pool_size: int = 10
    ) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url,
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            pool_use_lifo=True,  # the connection that has most statements prepared
            connect_args={"prepared_statement_cache_size": _STATEMENTS},
        )
        listens_for(self._engine.sync_engine, "checkout")(_refuse_closed)
        # Several queries of one read see the same moment, as they do on SQLite.
        self._snapshots = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        self._on_commit = on_commit
        self._to_notify: set[str] = set()
        self._notifier: asyncio.Task[None] | None = None
        self._is_closed = False

    async def close(self) -> None:
        """Tell viewers what is left, then give the connections back.

        One that is in use is not waited for: it is closed by whoever uses it.
        """
        if self._notifier is not None:
            # While the database is away nobody can be told.
            await asyncio.wait({self._notifier}, timeout=_NOTIFY_AGAIN_SECONDS)
            self._notifier.cancel()
        self._is_closed = True
        await self._engine.dispose()

    @property
    def connections_in_use(self) -> int:
        """How many connections are checked out right now."""
        return int(self._engine.pool.checkedout())  # type: ignore[attr-defined] # QueuePool has it

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with engine.connect() as connection:
            try:
                yield connection
            finally:
                if self._is_closed:
                    # It would go back to a pool that nobody will ever empty.
                    await connection.invalidate()

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[AsyncConnection]:
        async with self._connected(self._engine) as connection, connection.begin():
            yield connection

    async def write(self, unit: Unit[T]) -> T:
        # Shielded: a caller that gives up must not leave a commit half told to viewers.
        return await asyncio.shield(asyncio.ensure_future(self._write(unit)))

    async def write_at_once(self, unit: Unit[T]) -> T:
        return await self.write(unit)

    async def _write(self, unit: Unit[T]) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            ended = False
            try:
                async with self._begun() as connection:
                    value, events = await connection.run_sync(_run_unit, unit)
                    ended = True
            except (DBAPIError, PoolTimeoutError, OSError) as error:
                conflicted = _sqlstate(error) in _SERIALIZATION_STATES
                if attempt < _ATTEMPTS and (conflicted or (_is_lost(error) and not ended)):
                    continue
                raise _translated(error) from error
            if events:
                self._on_commit(events)
                self._notify_soon({event.run_id for event in events})
            return value
        raise AssertionError("unreachable")

    async def read(self, unit: Unit[T]) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._connected(self._snapshots) as connection:
                    value, _ = await connection.run_sync(_run_unit, unit)
                    await connection.rollback()
            except (DBAPIError, PoolTimeoutError, OSError) as error:
                if attempt < _ATTEMPTS and _is_lost(error):
                    continue
                raise _translated(error) from error
            return value
        raise AssertionError("unreachable")

    async def look_up(self, unit: Unit[T]) -> T:
        return await self.read(unit)

    async def listen(
        self, on_run: Callable[[str], None], on_begin: Callable[[], None] = lambda: None
    ) -> None:
        """Call `on_run` for each run id that another process committed to, until cancelled.

        `on_begin` is called once it listens: what was said before that was not heard. Returns when
        the connection is lost.

        Raises:
            StoreUnavailableError: there is no connection to listen on.
        """

        def received(_connection: object, _pid: int, _channel: str, payload: str) -> None:
            for run_id in payload.split(","):
                on_run(run_id)

        try:
            async with self._connected(self._engine) as connection:
                raw: Any = (await connection.get_raw_connection()).driver_connection
                await _hear(raw, received, on_begin)
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            raise _translated(error) from error

    def _notify_soon(self, run_ids: set[str]) -> None:
        self._to_notify |= run_ids
        if self._notifier is None or self._notifier.done():
            self._notifier = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        while self._to_notify:
            await asyncio.sleep(NOTIFY_SECONDS)
            batch = [self._to_notify.pop() for _ in range(min(100, len(self._to_notify)))]
            try:
                async with self._begun() as connection:
                    await connection.execute(
                        _clause("SELECT pg_notify(:channel, :payload)"),
                        {"channel": CHANNEL, "payload": ",".join(batch)},
                    )
            except (DBAPIError, PoolTimeoutError, OSError) as error:
                _log.warning("viewers elsewhere are woken later: %s", error)
                self._to_notify |= set(batch)
                await asyncio.sleep(_NOTIFY_AGAIN_SECONDS)


async def _hear(
    raw: Any,  # noqa: ANN401 - asyncpg's own
    received: Callable[..., None],
    on_begin: Callable[[], None],
) -> None:
    """Listen on one connection until it is lost."""
    lost = asyncio.Event()
    raw.add_termination_listener(lambda _connection: lost.set())
    await raw.add_listener(CHANNEL, received)
    on_begin()
    try:
        await lost.wait()
    finally:
        if not raw.is_closed():
            await raw.remove_listener(CHANNEL, received)


def _run_unit(connection: Connection, unit: Unit[T]) -> tuple[T, list[StoredEvent]]:
    tx = PostgresTx(connection)
    return unit(tx), tx.committed


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401
    """Have the pool connect anew where the server hung up: a look, where a ping asks three times.

    Raises:
        DisconnectionError: as the pool wants it.
    """
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _is_lost(error: BaseException) -> bool:
    """Whether a connection broke while it was used; a new one may do."""
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _sqlstate(error: BaseException) -> str:
    original = getattr(error, "orig", None)
    return str(getattr(original, "sqlstate", "") or "")


def _translated(error: BaseException) -> Exception:
    if _sqlstate(error) == "53100":
        return StoreFullError("PostgreSQL has no disk space left; free space, nothing else")
    lost = isinstance(error, OperationalError | InterfaceError | PoolTimeoutError | OSError)
    if lost or _is_lost(error) or _sqlstate(error).startswith(_UNAVAILABLE_STATES):
        return StoreUnavailableError(f"PostgreSQL is not available: {error}")
    return error if isinstance(error, Exception) else StoreUnavailableError(str(error))
