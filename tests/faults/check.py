"""The invariant checker that every fault test ends with.

Holds the store against Temporal's view of each run, the effect ledger and what clients wrote down.
Each `*_faults` function returns sentences; `check` raises with all of them.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from temporalio.api.enums.v1 import EventType as HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from adapters.temporal import workflow_id
from tests.faults.books import STATUS_OF, Books, Problems
from tests.stub.ledger import Effect, Ledger

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


def canary_faults(books: Books, canaries: Iterable[str], files: Iterable[Path] = ()) -> Problems:
    """I10: planted secrets stand in no table and in no file (logs, that is)."""
    texts = {name: json.dumps(rows, default=repr) for name, rows in books.tables.items()}
    texts |= {str(path): path.read_text(errors="replace") for path in files}
    return [f"I10: {secret} in {where}" for secret in canaries for where in _holding(texts, secret)]


def _holding(texts: Mapping[str, str], secret: str) -> list[str]:
    return [where for where, text in texts.items() if secret in text]


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
