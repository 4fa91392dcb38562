"""Brings a database to this release's schema when a process starts. Blocking: no event loop here.

A database that is up to date costs one query; Alembic is imported only when there is work. Several
processes may start at once: one applies the revisions, the others wait and find them done.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

from adapters.store.database.urls import Database, SqliteFile, parse_database_url
from domain.errors import SetupError, StoreUnavailableError

HEAD = "0012"
"""The newest revision; a test compares it with the files."""
BUSY_SECONDS = 30.0
"""How long to wait for another process that is upgrading."""
_VERSION = "SELECT version_num FROM alembic_version"


def upgrade(database: Database | Path | str) -> None:
    """Bring the database to `HEAD`; one that is there already is left alone.

    Args:
        database: a parsed location, a path, or any form of `DATABASE_URL`.

    Raises:
        SetupError: the URL or file is not usable, or a newer release wrote the database.
        StoreUnavailableError: it cannot be reached or stays locked; nothing was changed.
    """
    if isinstance(database, Path):
        database = SqliteFile(database)
    elif isinstance(database, str):
        database = parse_database_url(database)
    if isinstance(database, SqliteFile):
        _upgrade_sqlite(database.path)
    else:
        from adapters.store.schema import revisions  # noqa: PLC0415 - SQLite at head needs no SQLAlchemy

        asyncio.run(
            revisions.upgrade_postgres(database, lambda found: _check_known(found, database))
        )


def _check_known(version: str | None, where: object) -> bool:
    """Whether the database is at `HEAD`."""
    if version is not None and version > HEAD:
        raise SetupError(
            f"{where} was written by a newer release (schema {version}, this one knows {HEAD});"
            " start that release, or restore a backup"
        )
    return version == HEAD


def _upgrade_sqlite(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            # For its owner alone; the files that SQLite makes beside it are as this one.
            path.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise SetupError(f"cannot open or make {path}: {error}") from error
    try:
        _patiently(lambda: connection.execute("PRAGMA journal_mode=WAL"))
        if not _check_known(_sqlite_version(connection), path):
            from adapters.store.schema import revisions  # noqa: PLC0415 - most starts need no Alembic

            revisions.apply_to_sqlite(path, BUSY_SECONDS)
    except sqlite3.OperationalError as error:
        raise StoreUnavailableError(f"cannot upgrade {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise SetupError(f"{path} is not usable as a database: {error}") from error
    finally:
        connection.close()


def _patiently(switch: Callable[[], object]) -> None:
    """Retry what SQLite refuses at once, without its busy timeout, while another process starts."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            switch()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _sqlite_version(connection: sqlite3.Connection) -> str | None:
    try:
        row = connection.execute(_VERSION).fetchone()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise
    return row[0] if row else None
