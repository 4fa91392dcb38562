"""Raw sqlite3: the same table with the same indexes, ready-made rows, a commit per batch.

One connection and one thread, because more of them only wait for each other's lock. Speaks lines
of JSON: `append` tells the rate.
"""

import argparse
import json
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = tuple[str, int, str, int, str, str]

_INSERT = (
    "INSERT INTO events (run_id, seq, event_key, ts, type, envelope) VALUES (?, ?, ?, ?, ?, ?)"
)
_PREPARED = 40_000
"""Rows made before the clock starts; more are made while it stands still."""


def copy_table(source: Path, target: Path) -> sqlite3.Connection:
    """Return a connection to a new file with the product's table, indexes and page size."""
    theirs = sqlite3.connect(source)
    connection = sqlite3.connect(target, isolation_level=None)
    for (sql,) in theirs.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = 'events' AND sql IS NOT NULL"
    ):
        connection.execute(sql)
    theirs.close()
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA wal_autocheckpoint=4000")
    return connection


def _rows(round_: int, writers: int, batch: int) -> Iterator[list[Row]]:
    """Yield batches of rows, one run after the other, as large as the product's."""
    names = [f"run_{round_:04}{writer:012}" for writer in range(writers)]
    now, first = time.time_ns() // 1_000_000, 1
    while True:
        for name in names:
            yield [_row(name, seq, now) for seq in range(first, first + batch)]
        first += batch


def _row(name: str, seq: int, now: int) -> Row:
    envelope = json.dumps(
        {
            "event_id": f"evt_{name}_{seq}",
            "run_id": name,
            "seq": seq,
            "ts": now,
            "type": "agent_stream_delta",
            "data": {"text": "x" * 100, "step": "llm-1-1", "attempt": 1},
            "root_run_id": name,
            "parent_run_id": None,
            "depth": 0,
        },
        separators=(",", ":"),
    )
    return (name, seq, f"llm-1-1:1:{seq}", now, "agent_stream_delta", envelope)


def append(connection: sqlite3.Connection, round_: int, order: dict[str, Any]) -> dict[str, Any]:
    """Append for some seconds of clock; making rows does not count."""
    batch = order["batch"]
    source = _rows(round_, order["writers"], batch)
    written, seconds = 0, 0.0
    while seconds < order["seconds"]:
        ready = [next(source) for _ in range(_PREPARED // batch)]
        started = time.monotonic()
        for rows in ready:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT, rows)
            connection.execute("COMMIT")
        seconds += time.monotonic() - started
        written += len(ready) * batch
    return {"events": written, "seconds": seconds}


def main() -> None:
    """Serve orders until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--like", required=True, type=Path, help="a database of the product")
    parser.add_argument("--file", required=True, type=Path)
    given = parser.parse_args()
    connection = copy_table(given.like, given.file)
    _say({"ready": True})
    for round_, line in enumerate(sys.stdin):
        _say(append(connection, round_, json.loads(line)))


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
