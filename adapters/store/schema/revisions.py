"""Applies the revisions with Alembic, in one transaction that only one process can hold.

Imported only when a database may need it: see `adapters.store.schema.migrate`.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import URL, Connection, NullPool, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from adapters.store.database.urls import PostgresUrl
from domain.errors import SetupError, StoreUnavailableError

_MIGRATIONS = Path(__file__).parents[1] / "migrations"
_ADVISORY_LOCK = 0x6F726368
"""Ours among PostgreSQL's advisory locks."""
_SETUP_STATES = ("28", "3D", "42501")
"""Wrong user or password, no such database, no permission."""


def apply_to_sqlite(path: Path, busy_seconds: float) -> None:
    """Apply what is missing to a SQLite file, waiting while another process writes.

    Raises:
        sqlite3.Error: as the driver says; nothing was changed.
    """
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        connect_args={"timeout": busy_seconds, "isolation_level": None},
    )
    # One transaction from the first read of the version to the last statement.
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with engine.begin() as connection:
            _run_revisions(connection)
    except DBAPIError as error:
        raise error.orig or error from error


async def upgrade_postgres(database: PostgresUrl, is_current: Callable[[str | None], bool]) -> None:
    """Apply what is missing to a PostgreSQL database, one process at a time.

    Args:
        database: where it is.
        is_current: whether a schema version needs nothing; refuses one from the future.

    Raises:
        SetupError: there is no such database, or it does not let us in.
        StoreUnavailableError: it cannot be reached; nothing was changed.
    """
    engine = create_async_engine(database.url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            if is_current(await connection.run_sync(_postgres_version)):
                return
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK}
            )
            await connection.run_sync(_run_revisions)
    except (DBAPIError, OSError, TimeoutError) as error:
        raise _translated(error, database) from error
    finally:
        await engine.dispose()


def _translated(error: Exception, database: PostgresUrl) -> Exception:
    """Tell what only the operator can change from what may pass."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = str(getattr(cause, "sqlstate", "") or "")
    if state.startswith(_SETUP_STATES):
        return SetupError(f"{database} refuses us: {cause}; check DATABASE_URL")
    if isinstance(cause, OSError | TimeoutError):
        return StoreUnavailableError(
            f"{database} cannot be reached ({_why(cause)}); check DATABASE_URL"
        )
    return StoreUnavailableError(f"the schema of {database} cannot be upgraded: {cause}")


def _why(error: OSError) -> str:
    """Return the words of an error of the network, without numbers and addresses."""
    if isinstance(error, TimeoutError):
        return "it did not answer in time"
    is_name = isinstance(error, socket.gaierror) or not error.errno
    return str(error.strerror or error) if is_name else os.strerror(error.errno or 0)


def _postgres_version(connection: Connection) -> str | None:
    known = connection.execute(text("SELECT to_regclass('alembic_version')::text")).scalar()
    if known is None:
        return None
    version: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return version


def _run_revisions(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - PostgreSQL at head needs no Alembic
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
