"""SQLite: one writer thread that commits whatever has arrived as one group; readers beside it.

Every waiting unit runs in its own savepoint, so one that fails takes nothing else with it. There is
no timer: an idle writer starts with the first unit. Source: ADR 0008.
"""

import asyncio
import logging
import queue
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from adapters.store.database.checkpoints import Checkpointer
from adapters.store.database.tx import Row, Unit, storable
from domain.errors import StoreFullError, StoreUnavailableError
from domain.event import StoredEvent

T = TypeVar("T")
_log = logging.getLogger(__name__)

GROUP_MAX = 512
"""Units in one commit; keeps the first waiter's delay small."""
_PAGE_BYTES = 4096
_LOG_PAGES = 4000
"""Pages in SQLite's log before they are folded into the file."""
_UNIT_ERRORS = ("SQLITE_ERROR", "SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_TOOBIG")
"""What is wrong with one unit's SQL or values; everything else is wrong with the file."""


class SqliteTx:
    """A `Tx` over a plain connection."""

    lock = ""
    octets = "length(CAST({} AS BLOB))"
    # In the order of the key by which the rows are found.
    joined = "CAST(group_concat({}, {}) AS BLOB)"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.committed: list[StoredEvent] = []

    def one(self, sql: str, **params: object) -> Row | None:
        row: Row | None = self._connection.execute(sql, storable(params)).fetchone()
        return row

    def all(self, sql: str, **params: object) -> Sequence[Row]:
        return self._connection.execute(sql, storable(params)).fetchall()

    def tuples(self, sql: str, **params: object) -> Sequence[tuple[Any, ...]]:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, storable(params)).fetchall()

    def run(self, sql: str, **params: object) -> int:
        return self._connection.execute(sql, storable(params)).rowcount


@dataclass(slots=True)
class _Job:
    """A unit of work and where its outcome goes."""

    unit: Unit[Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    value: Any = None
    error: BaseException | None = None
    events: list[StoredEvent] = field(default_factory=list)


class SqliteEngine:
    """An `Engine` on one file.

    Args:
        path: the database file; made if missing.
        on_commit: called in the event loop with the events of each committed group.
        busy_seconds: how long a write waits while another process holds the file.
    """

    def __init__(
        self,
        path: Path,
        on_commit: Callable[[list[StoredEvent]], None],
        busy_seconds: float = 10.0,
    ) -> None:
        self._path = path
        self._on_commit = on_commit
        self._busy_seconds = busy_seconds
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(2, "store-read")
        self._reader_local = threading.local()
        self._reader_connections: list[sqlite3.Connection] = []
        self._own: sqlite3.Connection | None = None
        self._writer: threading.Thread | None = None
        self._checkpoints = Checkpointer()
        self._is_open = False
        self.groups_committed = 0

    def start(self) -> None:
        """Open the file and start the writer thread.

        Raises:
            StoreUnavailableError: the file cannot be opened.
        """
        try:
            connection = self._connect()
            folds = self._connect()
            folds.execute("PRAGMA busy_timeout=0")
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"cannot open {self._path}: {error}") from error
        self._writer = threading.Thread(
            target=self._write_forever, args=(connection,), name="store-write", daemon=True
        )
        self._writer.start()
        self._is_open = True
        self._checkpoints.start(folds)

    async def close(self) -> None:
        """Commit what waits, then stop. Returns when the file is closed."""
        if self._writer is not None and self._is_open:
            self._is_open = False
            self._jobs.put(None)
            await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._checkpoints.close)
        await asyncio.to_thread(self._readers.shutdown)
        if self._own is not None:
            self._reader_connections.append(self._own)
        while self._reader_connections:
            self._reader_connections.pop().close()

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailableError(f"the store {self._path} is closed in this process")

    async def write(self, unit: Unit[T]) -> T:
        self._check_open()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        future.add_done_callback(_mark_seen)
        self._jobs.put(_Job(unit, future, loop))
        # A caller that gives up must not make the commit look undone: the unit still runs.
        return await asyncio.shield(future)

    async def write_at_once(self, unit: Unit[T]) -> T:
        self._check_open()
        connection = self._own_connection()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            # Never wait in the event loop: the writer thread can wait for whoever writes now.
            return await self.write(unit)
        try:
            tx = SqliteTx(connection)
            before = connection.total_changes
            value = unit(tx)
            connection.execute("COMMIT")
            self._checkpoints.committed(connection.total_changes - before)
        except sqlite3.Error as error:
            if _is_of_the_unit(error):
                raise
            raise _translated(error, self._path) from error
        finally:
            _roll_back(connection)
        if tx.committed:
            self._on_commit(tx.committed)
        return value

    async def read(self, unit: Unit[T]) -> T:
        self._check_open()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, self._read, unit)

    async def look_up(self, unit: Unit[T]) -> T:
        self._check_open()
        try:
            return unit(SqliteTx(self._own_connection()))
        except sqlite3.OperationalError:
            # Never wait in the event loop: whatever holds the file, a thread can wait for it.
            return await self.read(unit)

    def _own_connection(self) -> sqlite3.Connection:
        """Return the event loop's connection, which never waits: not for a lock, nor for a disk."""
        if self._own is None:
            self._own = self._connect(busy_seconds=0)
            self._own.execute("PRAGMA wal_autocheckpoint=0")
        return self._own

    def _read(self, unit: Unit[T]) -> T:
        try:
            connection = self._reader()
            connection.execute("BEGIN")
            try:
                return unit(SqliteTx(connection))
            finally:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            if _is_of_the_unit(error):
                raise
            raise _translated(error, self._path) from error

    def _reader(self) -> sqlite3.Connection:
        """Return this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._reader_local, "connection", None)
        if connection is None:
            connection = self._reader_local.connection = self._connect()
            self._reader_connections.append(connection)
        return connection

    def _connect(self, busy_seconds: float | None = None) -> sqlite3.Connection:
        patience = self._busy_seconds if busy_seconds is None else busy_seconds
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout={int(patience * 1000)}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA wal_autocheckpoint={_log_pages(self._path.parent)}")
        return connection

    def _write_forever(self, connection: sqlite3.Connection) -> None:
        stopping = False
        while not stopping:
            group = [self._jobs.get()]
            while len(group) < GROUP_MAX:
                try:
                    group.append(self._jobs.get_nowait())
                except queue.Empty:
                    break
            stopping = None in group
            jobs = [job for job in group if job is not None]
            if jobs:
                self._commit_group(connection, jobs)
        connection.close()

    def _commit_group(self, connection: sqlite3.Connection, jobs: list[_Job]) -> None:
        before = connection.total_changes
        try:
            connection.execute("BEGIN IMMEDIATE")
            if len(jobs) == 1:
                # The transaction itself is the savepoint of a unit that is alone.
                is_kept = _run_unit(connection, jobs[0])
                connection.execute("COMMIT" if is_kept else "ROLLBACK")
            else:
                for job in jobs:
                    _run_in_savepoint(connection, job)
                connection.execute("COMMIT")
            self.groups_committed += 1
            self._checkpoints.committed(connection.total_changes - before)
        except sqlite3.Error as error:
            _roll_back(connection)
            for job in jobs:
                job.error, job.events = _translated(error, self._path), []
        for loop in {job.loop for job in jobs}:
            try:
                loop.call_soon_threadsafe(self._deliver, [j for j in jobs if j.loop is loop])
            except RuntimeError:
                _log.debug("a write finished after its event loop closed")

    def _deliver(self, jobs: list[_Job]) -> None:
        # Viewers first: a caller that sees its write done may rely on viewers having it.
        events = [event for job in jobs for event in job.events]
        if events:
            self._on_commit(events)
        for job in jobs:
            if job.future.done():
                continue
            if job.error is None:
                job.future.set_result(job.value)
            else:
                job.future.set_exception(job.error)


def _mark_seen(future: asyncio.Future[Any]) -> None:
    # The caller may be gone; its error is then nobody's news.
    if not future.cancelled():
        future.exception()


def _run_in_savepoint(connection: sqlite3.Connection, job: _Job) -> None:
    connection.execute("SAVEPOINT unit")
    if not _run_unit(connection, job):
        connection.execute("ROLLBACK TO unit")
    connection.execute("RELEASE unit")


def _run_unit(connection: sqlite3.Connection, job: _Job) -> bool:
    """Run a unit and say whether what it wrote is kept."""
    tx = SqliteTx(connection)
    try:
        job.value = job.unit(tx)
    except Exception as error:  # it belongs to whoever asked for this unit
        if isinstance(error, sqlite3.Error) and not _is_of_the_unit(error):
            raise  # the file is in trouble: the whole group is refused
        job.error = error
        return False
    job.events = tx.committed
    return True


def _is_of_the_unit(error: sqlite3.Error) -> bool:
    """Whether another unit on the same file would do better."""
    name = getattr(error, "sqlite_errorname", "")
    return not name or name.startswith(_UNIT_ERRORS)


def _log_pages(folder: Path) -> int:
    """Return how far SQLite's own log may grow: on a small disk it must not take what is left."""
    free = shutil.disk_usage(folder).free // _PAGE_BYTES
    return max(_LOG_PAGES // 40, min(_LOG_PAGES, free // 4))


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            _log.exception("rollback failed")


def _translated(error: sqlite3.Error, path: Path) -> StoreUnavailableError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL"):
        return StoreFullError(f"the disk under {path} is full; free space, nothing else is needed")
    return StoreUnavailableError(f"the store {path} is not available: {error}")
