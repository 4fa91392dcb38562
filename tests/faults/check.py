"""The invariant checker that every fault test ends with.

Reads the store behind the product's back, Temporal's view of each run, the effect ledger and what
clients wrote down. Each `*_faults` function returns sentences; `check` raises with all of them.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from temporalio.api.enums.v1 import EventType as HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from adapters.store.database.rows import run_from
from adapters.store.database.urls import SqliteFile, parse_database_url
from adapters.temporal import workflow_id
from domain.event import TERMINAL_EVENTS, EventType
from domain.fold import fold
from domain.tool import OPEN_STATUSES
from tests.stub.ledger import Effect, Ledger

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
    "idempotency",
    "leases",
)
_ORDER = {"events": " ORDER BY run_id, seq"}
_TASK_FAILURES = 3
"""Failed workflow tasks of one run after which it counts as looping; a kill may cost one."""


@dataclass(frozen=True)
class Transcript:
    """What one client saw of one run: the ids of each of its connections, in order."""

    run_id: str
    connections: Sequence[Sequence[int]]
    saw_end: bool

    @property
    def ids(self) -> list[int]:
        return [seq for connection in self.connections for seq in connection]


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


# ------------------------------------------------------------------ the store by itself


def input_faults(books: Books, accepted: Mapping[str, Iterable[str]]) -> Problems:
    """I1: each accepted input is exactly one run. `accepted`: key of a client to answered run ids.

    A key that was never answered stands with no id; it may be a run or not, but never two.
    """
    found: Problems = []
    known = {run["run_id"] for run in books.runs}
    of_key: dict[str, set[str]] = {}
    for row in books.tables["idempotency"]:
        of_key.setdefault(row["key"], set()).add(row["run_id"])
    for key, answered in accepted.items():
        runs = of_key.get(key, set()) | set(answered)
        if len(runs) > 1:
            found.append(f"I1: input {key} became {sorted(runs)}")
        found += [f"I1: {run} was answered and is not on record" for run in runs - known]
    sessions = {run["run_id"]: run["session_id"] for run in books.runs}
    asked = Counter(
        row["run_id"]
        for row in books.tables["messages"]
        # A fork's branch also holds what runs of the first session were asked.
        if row["role"] == "user" and row["session_id"] == sessions[row["run_id"]]
    )
    for run in books.runs:
        if run["kind"] == "agent" and asked[run["run_id"]] != 1 + run["steers"]:
            found.append(f"I1: {run['run_id']} has {asked[run['run_id']]} messages of a person")
    return found


def log_faults(books: Books) -> Problems:
    """I2, I3: a gapless log with at most one end, that folds into the row."""
    found: Problems = []
    for run in books.runs:
        run_id, log = run["run_id"], books.logs[run["run_id"]]
        if [row["seq"] for row in log] != list(range(1, len(log) + 1)):
            found.append(f"I3: {run_id} has gaps: {[row['seq'] for row in log]}")
            continue
        ends = [at for at, row in enumerate(log) if row["type"] in TERMINAL_EVENTS]
        has_ended = run["state"] in STATUS_OF
        if ends != ([len(log) - 1] if has_ended else []):
            found.append(f"I2: {run_id} is {run['state']} and its log ends at {ends} of {len(log)}")
            continue
        try:
            folded = fold(books.envelopes(run_id))
        except ValueError as error:
            found.append(f"I3: {run_id} does not fold: {error}")
            continue
        row = run_from(run)
        said, is_so = folded.model_dump(), row.model_dump(include=set(type(folded).model_fields))
        if said != is_so:
            found.append(f"I3: {run_id} folds into {said} and is {is_so}")
    return found


def text_faults(books: Books) -> Problems:
    """I4, second half: the deltas of the last attempt are the answer on record."""
    found: Problems = []
    for run in books.runs:
        if run["state"] != "DONE" or run["kind"] != "agent":
            continue
        place: tuple[str, int] | None = None
        text, attempts = "", dict[str, int]()
        for event in books.envelopes(run["run_id"]):
            if event["type"] not in (EventType.AGENT_STREAM_DELTA, EventType.AGENT_STREAM_RESET):
                continue
            data = event["data"]
            here = (data["step"], data["attempt"])
            if here != place:
                place, text = here, ""
            if data["attempt"] < attempts.get(data["step"], 0):
                found.append(f"I4: {run['run_id']} has a late event of attempt {here}")
            attempts[data["step"]] = data["attempt"]
            text += data.get("text", "")
        final = json.loads(run["output"])["content"]
        if place is not None and text != final:
            found.append(f"I4: {run['run_id']} streamed {text!r} and answered {final!r}")
    return found


def usage_faults(books: Books) -> Problems:
    """I7, as far as one run goes: what was spent is the sum of the ledger."""
    found: Problems = []
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for row in books.tables["usage"]:
        spent[row["run_id"]] += row["cost_pico"] or 0
        calls[row["run_id"]] += 1
    for run in books.runs:
        run_id = run["run_id"]
        if (run["cost_pico"], run["model_calls"]) != (spent[run_id], calls[run_id]):
            found.append(f"I7: {run_id} spent {run['cost_pico']}, its ledger says {spent[run_id]}")
    return found


def family_faults(books: Books) -> Problems:
    """I8: no live run below a cancelled one, each child where it belongs, and counted once."""
    found: Problems = []
    by_id = {run["run_id"]: run for run in books.runs}
    below: Counter[str] = Counter()
    for run in books.runs:
        parent = by_id.get(run["parent_run_id"])
        if parent is None:
            continue
        if (run["root_run_id"], run["depth"]) != (parent["root_run_id"], parent["depth"] + 1):
            found.append(f"I8: {run['run_id']} is not where a child of {parent['run_id']} belongs")
        if parent["state"] == "CANCELLED" and run["state"] not in STATUS_OF:
            found.append(f"I8: {run['run_id']} lives below {parent['run_id']}, which is cancelled")
        above: Row | None = parent if run["parent_step"] is not None else None
        while above is not None:
            below[above["run_id"]] += 1
            above = by_id.get(above["parent_run_id"])
    for run_id, run in by_id.items():
        if run["spawned"] != below[run_id]:
            found.append(f"I8: {run_id} counts {run['spawned']} runs below it, not {below[run_id]}")
    return found


def conversation_faults(books: Books) -> Problems:
    """A transcript is 1..n, and each call in it is answered before anybody else speaks.

    Providers refuse a conversation that breaks this, so it would lose the session for good.
    """
    found: Problems = []
    spoken: dict[tuple[str, str], list[Row]] = {}
    for row in books.tables["messages"]:
        if row["seq"] is not None:
            spoken.setdefault((row["owner"], row["session_id"]), []).append(row)
    for (_, session_id), rows in spoken.items():
        rows.sort(key=lambda row: int(row["seq"]))
        places = [row["seq"] for row in rows]
        if places != list(range(1, len(rows) + 1)):
            found.append(f"I3: session {session_id} has the places {places}")
        going = books.run(rows[-1]["run_id"])["state"] not in STATUS_OF
        found += [f"I3: session {session_id}: {said}" for said in _unanswered(rows, going=going)]
    return found


def _unanswered(rows: Sequence[Row], *, going: bool) -> Problems:
    """Return which calls of a conversation have no answer in their place."""
    found: Problems = []
    wanted: set[str] = set()
    for row in rows:
        if row["role"] == "tool":
            if row["tool_call_id"] not in wanted:
                found.append(f"an answer to {row['tool_call_id']} that nobody waits for")
            wanted.discard(row["tool_call_id"])
        elif wanted:
            found.append(f"{row['role']} speaks before {sorted(wanted)} is answered")
            wanted = set()
        wanted |= {call["call_id"] for call in json.loads(row["tool_calls"] or "[]")}
    if wanted and not going:
        found.append(f"it ends before {sorted(wanted)} is answered")
    return found


def rest_faults(books: Books) -> Problems:
    """I9, the store's half: every run has ended, or waits for a person; nothing is left open."""
    going = [run for run in books.runs if run["state"] not in STATUS_OF]
    parked = {run["run_id"] for run in going if run["waiting_on"] == "approval"}
    unfinished = [
        f"I9: {run['run_id']} is {run['state']}: {books.kinds(run['run_id'])[-5:]}"
        for run in going
        if run["run_id"] not in parked
    ]
    return unfinished or _held(books, parked)


def _held(books: Books, parked: set[str]) -> Problems:
    """Return what runs that have ended still hold."""
    sessions = [
        f"I9: session {row['session_id']} is still held by {row['active_run_id']}"
        for row in books.tables["sessions"]
        if row["active_run_id"] is not None and row["active_run_id"] not in parked
    ]
    calls = [
        f"I9: tool call {row['tool_call_id']} is {row['status']}"
        for row in books.tables["tool_calls"]
        if row["status"] in OPEN_STATUSES and row["run_id"] not in parked
    ]
    approvals = [
        f"I9: approval {row['approval_id']} is pending"
        for row in books.tables["approvals"]
        if row["status"] == "pending" and row["run_id"] not in parked
    ]
    return sessions + calls + approvals


def canary_faults(books: Books, canaries: Iterable[str], files: Iterable[Path] = ()) -> Problems:
    """I10: planted secrets stand in no table and in no file (logs, that is)."""
    texts = {name: json.dumps(rows, default=repr) for name, rows in books.tables.items()}
    texts |= {str(path): path.read_text(errors="replace") for path in files}
    return [f"I10: {secret} in {where}" for secret in canaries for where in _holding(texts, secret)]


def _holding(texts: Mapping[str, str], secret: str) -> list[str]:
    return [where for where, text in texts.items() if secret in text]


# ------------------------------------------------------------------ the store against others


def client_faults(books: Books, transcripts: Iterable[Transcript]) -> Problems:
    """I4, first half: what a client saw over all its connections is a prefix of the log, once."""
    found: Problems = []
    for seen in transcripts:
        ids, last = seen.ids, len(books.logs[seen.run_id])
        if ids != list(range(1, len(ids) + 1)) or len(ids) > last:
            found.append(f"I4: a client of {seen.run_id} saw {[list(c) for c in seen.connections]}")
        if seen.saw_end and len(ids) != last:
            found.append(f"I4: a client of {seen.run_id} saw the end and {len(ids)} of {last}")
    return found


def effect_faults(books: Books, ledger: Ledger | Iterable[Effect]) -> Problems:
    """I5: one key per call, every key is a call on record, and unsafe ones arrived once at most."""
    effects = ledger.effects.values() if isinstance(ledger, Ledger) else ledger
    calls = {row["idempotency_key"]: row for row in books.tables["tool_calls"]}
    found: Problems = []
    arrived: set[str] = set()
    for effect in effects:
        if effect.key.startswith("try:"):
            continue
        arrived.add(effect.key)
        call = calls.get(effect.key)
        if call is None:
            found.append(f"I5: an effect with the key {effect.key}, which no call has")
            continue
        may_run_again = call["effect"] != "unsafe" or call["resolution"] == "not_happened"
        if effect.arrivals > 1 and not may_run_again:
            found.append(f"I5: unsafe {effect.tool} ran {effect.arrivals} times: {effect.key}")
    for key, call in calls.items():
        charged = call["tool_name"].startswith("charge_") and call["status"] == "succeeded"
        if charged and call["resolution"] is None and key not in arrived:
            found.append(f"I5: call {call['tool_call_id']} succeeded and never arrived")
    return found


async def engine_faults(
    books: Books, client: Client, lost: Iterable[str] = ()
) -> tuple[Problems, int]:
    """I2, I9: Temporal agrees with every row, and no run's workflow tasks keep failing.

    `lost` are runs whose workflow an earlier server took with it. Also returns how many histories
    were read.
    """
    found: Problems = []
    read = 0
    for run in books.runs:
        run_id = run["run_id"]
        handle = client.get_workflow_handle(workflow_id(run_id))
        try:
            status = (await handle.describe()).status
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            if run_id not in set(lost):
                found.append(f"I2: {run_id} is {run['state']} and Temporal does not know it")
            continue
        expected = STATUS_OF.get(run["state"], WorkflowExecutionStatus.RUNNING)
        if status is not expected:
            found.append(f"I2: {run_id} is {run['state']} and {status} in Temporal")
        history = await handle.fetch_history()
        read += 1
        failed = [
            event
            for event in history.events
            if event.event_type == HistoryEvent.EVENT_TYPE_WORKFLOW_TASK_FAILED
        ]
        if len(failed) >= _TASK_FAILURES:
            why = failed[-1].workflow_task_failed_event_attributes.failure.message
            found.append(f"I9: {run_id} had {len(failed)} failed workflow tasks: {why}")
    return found, read


def check(*problems: Problems) -> None:
    """Raise with every sentence at once."""
    every = [sentence for group in problems for sentence in group]
    assert not every, "\n".join(every)


def store_faults(books: Books) -> Problems:
    """Everything that must hold of the store by itself once all is at rest."""
    return (
        log_faults(books)
        + text_faults(books)
        + conversation_faults(books)
        + usage_faults(books)
        + family_faults(books)
        + rest_faults(books)
    )
