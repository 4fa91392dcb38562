"""SQLite's log is folded into the file beside the writer.

By itself SQLite lets the commit that fills the log do it: that commit, and all who wait behind it,
wait for the disk. Source: https://www.sqlite.org/wal.html#checkpointing.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable

ROWS = 1000
"""Rows changed between two checkpoints; about as many pages of the log."""

_log = logging.getLogger(__name__)


class Checkpointer:
    """A thread with a connection of its own that folds what has been committed.

    It never waits for others: what it cannot fold now, the next one folds. The writer's own limit
    stays as a backstop, and finds little left to do.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._due = threading.Event()
        self._is_over = False
        self._rows = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; it rests until enough has been committed."""
        self._thread = threading.Thread(target=self._run, name="store-fold", daemon=True)
        self._thread.start()

    def committed(self, rows: int) -> None:
        """Note that so many rows were changed."""
        # Two threads commit; a count that one of them overwrites only makes a fold come later.
        self._rows += rows
        if self._rows >= ROWS:
            self._rows = 0
            self._due.set()

    def close(self) -> None:
        """End the thread, after the fold it is at."""
        self._is_over = True
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        connection = self._connect()
        try:
            while True:
                self._due.wait()
                self._due.clear()
                if self._is_over:
                    return
                self._fold(connection)
        finally:
            connection.close()

    def _fold(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            # Nothing is lost: it is all in the log, and the next commit tells whoever writes.
            _log.debug("the log was not folded: %s", error)
