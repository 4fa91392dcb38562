"""The one way a run ends, and the hand-over of its session to whoever waits."""

import json
from typing import Any

from adapters.store.approvals import approvals, toolcalls
from adapters.store.approvals.gate import first_events
from adapters.store.children.family import ask_to_stop, mark_stopped, to_stop
from adapters.store.clients import requests
from adapters.store.database.rows import usage_from
from adapters.store.database.tx import Row, Tx
from adapters.store.forks import deadletters
from adapters.store.log.appender import append
from adapters.store.runs.partial import keep_partial, partial_text
from adapters.store.sessions import transcript
from adapters.store.sessions.steering import goes_on, place_left_behind
from adapters.store.spending import asking, calls
from adapters.store.spending.health import free_probe
from adapters.store.spending.holds import caller_of
from adapters.store.steps import billing
from adapters.store.steps.fence import lock_run, note_execution, read_step
from domain.errors import NotFoundError
from domain.event import EventDraft, EventType, encode_json
from domain.run import TERMINAL, RunState
from domain.step import Finish, Finished, StepState, step_place
from domain.tool import OPEN_STATUSES, Effect, ToolCallStatus, ToolOutcome

_WHERE_SESSION = " WHERE owner = :owner AND session_id = :session_id"


def finalize(tx: Tx, run_id: str, finish: Finish, now: int) -> Finished:
    """Move a run to its terminal state, once, and hand its session over.

    A run that has ended already keeps its state, which is returned; whoever holds the session now
    is named again, so that a lost wake-up is repeated. One that was done, had not something steered
    it, goes on: the state is then RUNNING.

    Raises:
        NotFoundError: there is no such run.
    """
    plain = tx.one("SELECT owner, session_id FROM runs WHERE run_id = :id", id=run_id)
    if plain is None:
        raise NotFoundError(f"there is no run {run_id}")
    session = _lock_session(tx, plain)
    run = lock_run(tx, run_id)
    if run["state"] in TERMINAL:
        return _on_record(tx, run, session)
    # Runs are locked before budgets, everywhere: what is open is billed below.
    heir = _lock_heir(tx, run, session)
    if finish.state is RunState.DONE and goes_on(tx, run, finish.turn, now):
        return Finished(RunState.RUNNING)
    begun = append(tx, run, first_events(run), now, run["last_seq"])
    _stop_below(tx, run, finish, now)
    last = _close_what_is_open(tx, run, finish, now, begun)
    run = _reread(tx, run_id)
    last = append(tx, run, _last_events(tx, run, finish, now), now, last)
    tx.run(
        "UPDATE runs SET state = :state, waiting_on = NULL, error = :error, ended_at = :now,"
        " started_at = coalesce(started_at, :now), last_seq = :last WHERE run_id = :id",
        state=finish.state.value,
        error=_error(finish),
        now=now,
        last=last,
        id=run_id,
    )
    if finish.dead_letter_step is not None:
        deadletters.put(tx, run, finish, now)
    woken = _hand_over(tx, run, session, heir, now)
    return Finished(
        finish.state,
        finish.code,
        finish.message,
        woken,
        changed=True,
        parent_run_id=_who_waits(tx, run),
        stops_below=finish.state is not RunState.DONE and bool(to_stop(tx, run_id)),
    )


def _on_record(tx: Tx, run: Row, session: Row | None) -> Finished:
    error = json.loads(run["error"]) if run["error"] else {}
    holder = session["active_run_id"] if session else None
    woken = holder if holder != run["run_id"] else None
    return Finished(
        RunState(run["state"]),
        error.get("code"),
        error.get("message", ""),
        woken,
        changed=False,
        parent_run_id=_who_waits(tx, run),
        stops_below=bool(to_stop(tx, run["run_id"])),
    )


def _error(finish: Finish) -> str | None:
    if finish.state is not RunState.FAILED:
        return None
    return encode_json({"code": finish.code or "internal_error", "message": finish.message})


def _reread(tx: Tx, run_id: str) -> Row:
    row = tx.one("SELECT * FROM runs WHERE run_id = :id", id=run_id)
    if row is None:
        raise NotFoundError(f"there is no run {run_id}")
    return row


def _lock_session(tx: Tx, run: Row) -> Row | None:
    # Sessions are locked before runs, everywhere, so that no two transactions wait for each other.
    if run["session_id"] is None:
        return None
    return tx.one(
        f"SELECT active_run_id, last_queue_seq FROM sessions{_WHERE_SESSION}{tx.lock}",
        owner=run["owner"],
        session_id=run["session_id"],
    )


def _close_what_is_open(tx: Tx, run: Row, finish: Finish, now: int, last: int) -> int:
    """Close open calls, so that the transcript stays valid; bill attempts that never reported."""
    last = append(tx, run, calls.end_with_run(tx, run, now), now, last)
    if finish.state is RunState.DONE:
        return last
    questions = asking.close_with_run(tx, run["run_id"], finish.state.value.lower(), now)
    last = append(tx, run, questions, now, last)
    for step in tx.all(
        "SELECT * FROM steps WHERE run_id = :id AND state = 'open' AND model IS NOT NULL",
        id=run["run_id"],
    ):
        error = {"code": finish.state.value.lower(), "message": "cut before its usage was known"}
        bill = billing.estimated_bill(run, step, now, error)
        last = append(tx, run, billing.bill_attempt(tx, run, step, bill, now), now, last)
        free_probe(tx, step["model"], caller_of(run["run_id"], step["step_id"]))
    open_calls = tx.all("SELECT * FROM tool_calls WHERE run_id = :id", id=run["run_id"])
    for call in sorted(open_calls, key=lambda row: step_place(row["step_id"])):
        last = append(tx, run, _close_call(tx, run, call, finish, now), now, last)
    return last


def _close_call(tx: Tx, run: Row, call: Row, finish: Finish, now: int) -> list[EventDraft]:
    status = ToolCallStatus(call["status"])
    if status not in OPEN_STATUSES and status is not ToolCallStatus.OUTCOME_UNKNOWN:
        return []
    step = read_step(tx, run["run_id"], call["step_id"])
    is_open = step is not None and step["state"] == StepState.OPEN
    may_have_run = (
        requests.close_with_run(tx, call)
        or status is ToolCallStatus.OUTCOME_UNKNOWN
        or (call["effect"] == Effect.UNSAFE and is_open)
    )
    word = finish.state.value.lower()
    if not may_have_run:
        why = finish.message or f"the run was {word}"
        what = "not run" if status is ToolCallStatus.CREATED else "cut"
        said = f"this call was {what}: {why}"
        closed = approvals.close_with_run(tx, run["run_id"], call["tool_call_id"], word, now)
        outcome = ToolOutcome(ok=False, content=said, error_code=finish.code or word)
        settled = toolcalls.settle(tx, run, call, ToolCallStatus.FAILED, outcome, now)
        return [*closed, *settled]
    outcome = ToolOutcome(
        ok=False,
        content=f"the run was {word} while this call was open; whether it happened is unknown",
        error_code="outcome_unknown",
    )
    drafts = toolcalls.settle(tx, run, call, ToolCallStatus.OUTCOME_UNKNOWN, outcome, now)
    reason = {"tool_call_id": call["tool_call_id"], "reason": outcome.content}
    key = f"{call['tool_call_id']}:unknown:end"
    return [EventDraft(type=EventType.OUTCOME_UNKNOWN, key=key, data=reason), *drafts]


def _last_events(tx: Tx, run: Row, finish: Finish, now: int) -> list[EventDraft]:
    usage = usage_from(run).model_dump()
    if finish.state is RunState.DONE:
        message = json.loads(run["output"]) if run["output"] else None
        why = message.get("stop_reason") if message else None
        data: dict[str, Any] = {"final_message": message, "stop_reason": why, "usage": usage}
        return [EventDraft(type=EventType.RUN_DONE, key="end", data=data)]
    if finish.state is RunState.CANCELLED:
        reason = finish.message or run["cancel_reason"]
        partial = partial_text(tx, run)
        keep_partial(tx, run, partial, now)
        data = {"reason": reason, "partial": partial, "usage": usage}
        return [EventDraft(type=EventType.RUN_CANCELLED, key="end", data=data)]
    drafts = []
    if finish.dead_letter_step is not None:
        data = {"code": finish.code, "step": finish.dead_letter_step}
        drafts.append(EventDraft(type=EventType.RUN_DEAD_LETTERED, key="dead", data=data))
    data = {"code": finish.code or "internal_error", "message": finish.message, "usage": usage}
    return [*drafts, EventDraft(type=EventType.RUN_FAILED, key="end", data=data)]


def _who_waits(tx: Tx, run: Row) -> str | None:
    """Return the parent if it waits for this run's end."""
    if run["parent_step"] is None:
        return None
    waiting = tx.one(
        "SELECT 1 AS one FROM tool_calls WHERE run_id = :run AND step_id = :step"
        " AND status = 'waiting_child'",
        run=run["parent_run_id"],
        step=run["parent_step"],
    )
    return run["parent_run_id"] if waiting else None


def _stop_below(tx: Tx, run: Row, finish: Finish, now: int) -> None:
    """Have those stop that work for a run which ends before them.

    All that are below a cancelled run; and what a failed one was waiting for, or its agent asked
    for, tools too: nobody would take their answers. What was let go works on for a failed or
    finished parent.
    """
    why = f"run {run['run_id']} was {finish.state.value.lower()}"
    if finish.state is RunState.CANCELLED:
        mark_stopped(tx, run["run_id"], run["cancel_reason"] or why, now)
        return
    if finish.state is RunState.DONE:
        return
    for child in tx.all(
        "SELECT c.run_id FROM runs c LEFT JOIN tool_calls t ON t.run_id = c.parent_run_id"
        " AND t.step_id = c.parent_step WHERE c.parent_run_id = :id AND c.ended_at IS NULL"
        " AND (c.kind = 'tool' OR (c.parent_step IS NOT NULL"
        " AND (t.status = 'waiting_child' OR t.tool_call_id IS NULL))) ORDER BY c.run_id",
        id=run["run_id"],
    ):
        ask_to_stop(tx, child["run_id"], why, now)


def _holds(run: Row, session: Row | None) -> bool:
    return session is not None and session["active_run_id"] == run["run_id"]


def _lock_heir(tx: Tx, run: Row, session: Row | None) -> str | None:
    """Return the oldest queued run of the session that a run holds; None when nobody waits."""
    if not _holds(run, session):
        return None
    found = tx.one(
        f"SELECT run_id FROM runs{_WHERE_SESSION} AND queue_seq IS NOT NULL"
        " AND state IN ('CREATED', 'RUNNING') AND run_id <> :id AND cancel_asked_at IS NULL"
        " ORDER BY queue_seq LIMIT 1",
        owner=run["owner"],
        session_id=run["session_id"],
        id=run["run_id"],
    )
    return str(lock_run(tx, found["run_id"])["run_id"]) if found else None


def _hand_over(tx: Tx, run: Row, session: Row | None, heir: str | None, now: int) -> str | None:
    """Give the session to the heir and return it; None when nobody waits."""
    if session is None or not _holds(run, session):
        return None
    if session["last_queue_seq"]:
        place_left_behind(tx, run)
    tx.run(
        f"UPDATE sessions SET active_run_id = :heir{_WHERE_SESSION}",
        owner=run["owner"],
        session_id=run["session_id"],
        heir=heir,
    )
    if heir is not None:
        _give_turn(tx, lock_run(tx, heir), now)
    return heir


def _give_turn(tx: Tx, heir: Row, now: int) -> None:
    transcript.place_messages(tx, heir)
    if heir["waiting_on"] != "session":
        return
    data = {"waiting_on": "session"}
    draft = EventDraft(type=EventType.RUN_RESUMED, key="session:resumed", data=data)
    last = append(tx, heir, [draft], now, heir["last_seq"])
    tx.run(
        "UPDATE runs SET waiting_on = NULL, last_seq = :last WHERE run_id = :id",
        last=last,
        id=heir["run_id"],
    )


def read_turn(tx: Tx, run_id: str, temporal_run_id: str, now: int) -> str:
    """Say whether a run may work: `held`, `queued` (noted as waiting), or `ended`.

    One that is to stop does not wait: its cancel may have come before its workflow was there.
    """
    run = lock_run(tx, run_id)
    if run["state"] in TERMINAL or run["cancel_asked_at"] is not None:
        return "ended"
    note_execution(tx, run_id, temporal_run_id)
    session = tx.one(
        f"SELECT active_run_id FROM sessions{_WHERE_SESSION}",
        owner=run["owner"],
        session_id=run["session_id"],
    )
    if session is None or session["active_run_id"] in (None, run_id):
        tx.run(
            "UPDATE runs SET woken_at = coalesce(woken_at, :now) WHERE run_id = :id",
            now=now,
            id=run_id,
        )
        return "held"
    data = {"waiting_on": "session", "reason": f"run {session['active_run_id']} holds the session"}
    drafts = [
        *first_events(run),
        EventDraft(type=EventType.RUN_WAITING, key="session:waiting", data=data),
    ]
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run(
        "UPDATE runs SET state = 'RUNNING', waiting_on = 'session', last_seq = :last,"
        " started_at = coalesce(started_at, :now) WHERE run_id = :id",
        last=last,
        now=now,
        id=run_id,
    )
    return "queued"
