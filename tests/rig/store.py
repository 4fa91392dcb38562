"""An empty store to begin with."""

import functools
import tempfile
from pathlib import Path

from adapters.store.database.urls import SqliteFile
from adapters.store.schema.migrate import upgrade


@functools.cache
def empty_store() -> bytes:
    """Return a migrated and empty database: made once, where every world would make its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        upgrade(SqliteFile(path))
        return path.read_bytes()
