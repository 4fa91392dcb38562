"""The store as it stands behind the product's back: its tables at one moment, and its file."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from temporalio.client import WorkflowExecutionStatus

from adapters.store.database.urls import SqliteFile, parse_database_url

Row = dict[str, Any]
Problems = list[str]

STATUS_OF = {
    "DONE": WorkflowExecutionStatus.COMPLETED,
    "FAILED": WorkflowExecutionStatus.FAILED,
    "CANCELLED": WorkflowExecutionStatus.CANCELED,
}
TABLES = (
    "runs",
    "events",
    "steps",
    "tool_calls",
    "approvals",
    "tool_requests",
    "dead_letters",
    "messages",
    "sessions",
    "usage",
    "budgets",
    "holds",
    "idempotency",
    "leases",
)
_ORDER = {"events": " ORDER BY run_id, seq"}


@dataclass
class Books:
    """The store's tables as they stood at one moment, and each run's log."""

    tables: dict[str, list[Row]]
    logs: dict[str, list[Row]] = field(init=False)

    def __post_init__(self) -> None:
        self.logs = {run["run_id"]: [] for run in self.tables["runs"]}
        for row in self.tables["events"]:
            self.logs.setdefault(row["run_id"], []).append(row)

    @property
    def runs(self) -> list[Row]:
        return self.tables["runs"]

    def run(self, run_id: str) -> Row:
        return next(row for row in self.runs if row["run_id"] == run_id)

    def envelopes(self, run_id: str) -> list[Row]:
        return [json.loads(row["envelope"]) for row in self.logs[run_id]]

    def answer(self, run_id: str) -> str:
        """Return what a run answered."""
        return str(json.loads(self.run(run_id)["output"])["content"])

    def kinds(self, run_id: str) -> list[str]:
        return [row["type"] for row in self.logs[run_id]]


async def read_books(database: str) -> Books:
    """Read every table of a store in one transaction; `database` is spelled as in settings."""
    place = parse_database_url(database)
    if isinstance(place, SqliteFile):
        return Books(_sqlite_tables(place.path))
    connection = await asyncpg.connect(place.url.replace("+asyncpg", ""))
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            rows = {name: await connection.fetch(_select(name)) for name in TABLES}
    finally:
        await connection.close()
    return Books({name: [dict(row) for row in found] for name, found in rows.items()})


def _select(table: str) -> str:
    return f"SELECT * FROM {table}{_ORDER.get(table, '')}"


def _sqlite_tables(path: Path) -> dict[str, list[Row]]:
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        return {name: [dict(row) for row in connection.execute(_select(name))] for name in TABLES}


def sqlite_integrity(path: Path) -> Problems:
    """Have SQLite itself look at its file."""
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        (said,) = connection.execute("PRAGMA integrity_check").fetchone()
    return [] if said == "ok" else [f"the database file is damaged: {said}"]
