"""What must hold of the store by itself: logs, answers, bills, families and conversations."""

import json
from collections import Counter
from collections.abc import Sequence

from adapters.store.database.rows import run_from
from domain.event import TERMINAL_EVENTS, EventType
from domain.fold import fold
from domain.tool import OPEN_STATUSES
from tests.faults.books import STATUS_OF, Books, Problems, Row


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


def money_faults(books: Books) -> Problems:
    """I7: nothing is spent past a budget, and at rest nothing is held."""
    found: Problems = []
    for row in books.tables["budgets"]:
        name, used = row["budget_id"], row["reserved_pico"] + row["spent_pico"]
        if used > row["limit_pico"] or row["reserved_pico"] < 0:
            found.append(f"I7: budget {name} of {row['limit_pico']} holds and spent {used}")
        held = sum(
            hold["pico"] for hold in books.tables["holds"] if name in json.loads(hold["budget_ids"])
        )
        if held != row["reserved_pico"]:
            found.append(f"I7: of budget {name} {row['reserved_pico']} are held, not {held}")
    going = {run["run_id"] for run in books.runs if run["state"] not in STATUS_OF}
    for run in books.runs:
        held = (run["reserved_pico"], run["reserved_tokens"])
        if run["run_id"] not in going and held != (0, 0):
            found.append(f"I7: {run['run_id']} has ended and holds {held}")
    for hold in books.tables["holds"]:
        if hold["step_id"] is not None and hold["run_id"] not in going:
            found.append(f"I7: hold {hold['hold_id']} outlived its run")
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
    parked = {run["run_id"] for run in going if run["waiting_on"] in ("approval", "budget")}
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


def store_faults(books: Books) -> Problems:
    """Everything that must hold of the store by itself once all is at rest."""
    return (
        log_faults(books)
        + text_faults(books)
        + conversation_faults(books)
        + usage_faults(books)
        + money_faults(books)
        + family_faults(books)
        + rest_faults(books)
    )
