"""SQLite's log is folded into the file beside the writer.

By itself SQLite lets the commit that fills the log do it: that commit, and all who wait behind it,
wait for the disk. Source: https://www.sqlite.org/wal.html#checkpointing.
"""

import logging
import sqlite3
import threading

ROWS = 1000
"""Rows changed between two checkpoints; about as many pages of the log."""

_log = logging.getLogger(__name__)


class Checkpointer:
    """A thread with a connection of its own that folds what has been committed.

    It never waits for others: what it cannot fold now, the next one folds. The writer's own limit
    stays as a backstop, and finds little left to do.
    """

    def __init__(self) -> None:
        self._due = threading.Event()
        self._is_over = False
        self._rows = 0
        self._failure_level = logging.WARNING
        self._thread: threading.Thread | None = None

    def start(self, connection: sqlite3.Connection) -> None:
        """Begin on a connection that is its own; it rests until enough has been committed."""
        self._thread = threading.Thread(
            target=self._run, args=(connection,), name="store-fold", daemon=True
        )
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

    def _run(self, connection: sqlite3.Connection) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._is_over:
                break
            self._fold(connection)
        connection.close()

    def _fold(self, connection: sqlite3.Connection) -> None:
        try:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            # Nothing is lost: it is all in the log, and the next fold tries again.
            _log.log(self._failure_level, "SQLite's log was not folded into the file: %s", error)
            self._failure_level = logging.DEBUG
        else:
            self._failure_level = logging.WARNING
