"""Tool calls as rows: dispatched, answered, unknown, resolved by a person."""

from typing import Any

from adapters.store.approvals import waits
from adapters.store.approvals.taint import result_is_untrusted
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.sessions import transcript
from adapters.store.steps.fence import lock_session_and_run
from domain.errors import ConflictError, NotFoundError
from domain.event import EventDraft, EventType, as_json, as_text, encode_json
from domain.run import TERMINAL, RunKind
from domain.session import estimate_tokens
from domain.step import Execution, NewMessage
from domain.tool import Resolution, ToolCallStatus, ToolOutcome, Verdict

_TO_DO = {
    ToolCallStatus.CREATED: "it has not begun; wait, or cancel its run",
    ToolCallStatus.WAITING_APPROVAL: "it waits for a person; decide its approval, see"
    " /v1/approvals?status=pending",
    ToolCallStatus.WAITING_CHILD: "the run that it made goes on; wait, or cancel that run",
    ToolCallStatus.DISPATCHED: "a client is asked for it; claim it and submit its result, or wait",
    ToolCallStatus.RUNNING: "it is on its way; wait, or cancel its run",
}
"""What is to be done about a call whose outcome nobody has to find out."""


def call_of_step(tx: Tx, run_id: str, step_id: str) -> Row:
    """Return the tool call that a step runs.

    Raises:
        NotFoundError: the step belongs to no tool call.
    """
    row = tx.one(
        "SELECT * FROM tool_calls WHERE run_id = :run AND step_id = :step",
        run=run_id,
        step=step_id,
    )
    if row is None:
        raise NotFoundError(f"run {run_id} has no tool call for step {step_id}")
    return row


def mark_woken(tx: Tx, who: Execution, now: int) -> None:
    """Note that the workflow has read a resolved call, so that nobody wakes it again."""
    if who.step_id.startswith("tool-"):
        tx.run(
            "UPDATE tool_calls SET woken_at = :now WHERE run_id = :run AND step_id = :step"
            " AND woken_at IS NULL",
            now=now,
            run=who.run_id,
            step=who.step_id,
        )


def dispatch(tx: Tx, who: Execution, attempt: int, now: int) -> list[EventDraft]:
    """Mark the step's call as running and return the event that says so."""
    mark_woken(tx, who, now)
    call = call_of_step(tx, who.run_id, who.step_id)
    call_id = call["tool_call_id"]
    tx.run("UPDATE tool_calls SET status = 'running' WHERE tool_call_id = :id", id=call_id)
    if attempt == 1:
        tx.run("UPDATE runs SET tool_calls = tool_calls + 1 WHERE run_id = :id", id=who.run_id)
    data = {"tool_call_id": call_id, "tool_name": call["tool_name"], "attempt": attempt}
    key = f"{who.step_id}:{attempt}:dispatched"
    return [EventDraft(type=EventType.TOOL_DISPATCHED, key=key, data=data)]


def settle(
    tx: Tx, run: Row, call: Row, status: ToolCallStatus, outcome: ToolOutcome, now: int
) -> list[EventDraft]:
    """Write a call's end: its row and its message to the model. Return its `tool_result`."""
    error = _end_row(tx, call, status, outcome, now)
    if status is ToolCallStatus.REJECTED and not _was_dispatched(tx, call):
        # It was answered without being dispatched, where calls are counted otherwise.
        tx.run("UPDATE runs SET tool_calls = tool_calls + 1 WHERE run_id = :id", id=run["run_id"])
    if run["kind"] == RunKind.TOOL:
        tx.run(
            "UPDATE runs SET output = :output WHERE run_id = :id",
            output=encode_json({"role": "tool", "content": as_text(as_json(outcome.content))}),
            id=run["run_id"],
        )
    answer = NewMessage(
        message_id=f"msg_{call['tool_call_id'].removeprefix('tc_')}r",
        role="tool",
        content=outcome.content,
        tool_call_id=call["provider_call_id"],
        tokens=estimate_tokens(outcome.content),
    )
    transcript.extend(tx, run, (answer,), now, untrusted=result_is_untrusted(call, status))
    data = {
        "tool_call_id": call["tool_call_id"],
        "tool_name": call["tool_name"],
        "status": status.value,
        "result": as_json(outcome.content) if outcome.ok else None,
        "error": error,
    }
    return [EventDraft(type=EventType.TOOL_RESULT, key=f"{call['tool_call_id']}:result", data=data)]


def _was_dispatched(tx: Tx, call: Row) -> bool:
    found = tx.one(
        "SELECT 1 AS one FROM events WHERE run_id = :run AND event_key = :key",
        run=call["run_id"],
        key=f"{call['step_id']}:1:dispatched",
    )
    return found is not None


def _end_row(
    tx: Tx, call: Row, status: ToolCallStatus, outcome: ToolOutcome, now: int
) -> dict[str, str] | None:
    """Write the end into a call's row and return its error, if it is one."""
    error = None
    if not outcome.ok:
        error = {"code": outcome.error_code or "tool_error", "message": outcome.content}
    tx.run(
        "UPDATE tool_calls SET status = :status, result = :result, error = :error, ended_at = :now"
        " WHERE tool_call_id = :id",
        status=status.value,
        result=outcome.content if outcome.ok else None,
        error=encode_json(error) if error else None,
        now=now,
        id=call["tool_call_id"],
    )
    return error


def set_unknown(tx: Tx, run: Row, call: Row, reason: str, now: int) -> None:
    """Park a call whose outcome nobody knows, and its run, until a person resolves it."""
    run_id, call_id = run["run_id"], call["tool_call_id"]
    tx.run(
        "UPDATE steps SET state = 'unknown' WHERE run_id = :run AND step_id = :step",
        run=run_id,
        step=call["step_id"],
    )
    row = tx.one(
        "UPDATE tool_calls SET status = 'outcome_unknown', resolution = NULL, resolved_by = NULL,"
        " error = :error, unknown_count = unknown_count + 1 WHERE tool_call_id = :id"
        " RETURNING unknown_count",
        error=encode_json({"code": "outcome_unknown", "message": reason}),
        id=call_id,
    )
    key = f"{call_id}:unknown:{row['unknown_count'] if row else 0}"
    drafts = [
        EventDraft(
            type=EventType.OUTCOME_UNKNOWN,
            key=key,
            data={"tool_call_id": call_id, "reason": reason},
        ),
    ]
    waits.begin(tx, run, drafts, (f"{key}:wait", f"resolve tool call {call_id}"), now)


def resolve(tx: Tx, owner: str | None, call_id: str, verdict: Verdict, now: int) -> dict[str, Any]:
    """Record what a person says of an unknown outcome; the run goes on if it still lives.

    Raises:
        NotFoundError: no such call for this owner.
        ConflictError: its outcome is not, or no longer, unknown.
    """
    call = tx.one("SELECT * FROM tool_calls WHERE tool_call_id = :id", id=call_id)
    if call is None or (owner is not None and call["owner"] != owner):
        raise NotFoundError(f"there is no tool call {call_id}")
    run = lock_session_and_run(tx, call["run_id"])
    call = call_of_step(tx, call["run_id"], call["step_id"])
    if call["status"] != ToolCallStatus.OUTCOME_UNKNOWN:
        raise ConflictError(_not_unknown(call))
    tx.run(
        "UPDATE tool_calls SET resolution = :resolution, resolved_by = :by, woken_at = NULL"
        " WHERE tool_call_id = :id",
        resolution=verdict.resolution.value,
        by=verdict.by,
        id=call_id,
    )
    drafts = [_resolved(call, verdict), *_apply(tx, run, call, verdict, now)]
    if run["state"] not in TERMINAL:
        key = f"{call_id}:resumed:{call['unknown_count']}"
        drafts += waits.end(tx, run, key)
        last = append(tx, run, drafts, now, run["last_seq"])
        tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=run["run_id"])
    return {"run_id": run["run_id"], "is_terminal": run["state"] in TERMINAL}


def _not_unknown(call: Row) -> str:
    """Return why nobody can say what became of a call, and what to do instead."""
    call_id, status = call["tool_call_id"], call["status"]
    if call["resolution"]:
        return (
            f"tool call {call_id} was resolved before: {call['resolved_by']} said"
            f" {call['resolution']}, and it is {status}; the first answer counts"
        )
    to_do = _TO_DO.get(status, f"what came of it stands in /v1/tool_calls/{call_id}")
    return f"tool call {call_id} is {status}, not outcome_unknown: {to_do}"


def _resolved(call: Row, verdict: Verdict) -> EventDraft:
    data = {
        "approval_id": None,
        "tool_call_id": call["tool_call_id"],
        "decision": verdict.resolution.value,
        "reason": "what became of it was not known",
        "decided_by": verdict.by,
    }
    key = f"{call['tool_call_id']}:resolved:{call['unknown_count']}"
    return EventDraft(type=EventType.APPROVAL_DECISION, key=key, data=data)


def _apply(tx: Tx, run: Row, call: Row, verdict: Verdict, now: int) -> list[EventDraft]:
    key = {"run": run["run_id"], "step": call["step_id"]}
    ended = run["state"] in TERMINAL
    if verdict.resolution is Resolution.NOT_HAPPENED and not ended:
        tx.run("UPDATE steps SET state = 'idle' WHERE run_id = :run AND step_id = :step", **key)
        tx.run(
            "UPDATE tool_calls SET status = 'created', error = NULL WHERE tool_call_id = :id",
            id=call["tool_call_id"],
        )
        return []
    outcome = _said(verdict)
    status = ToolCallStatus.SUCCEEDED if outcome.ok else ToolCallStatus.FAILED
    if ended:
        _end_row(tx, call, status, outcome, now)
        return []
    tx.run(
        "UPDATE steps SET state = 'closed', closed_at = :now, result = :result"
        " WHERE run_id = :run AND step_id = :step",
        now=now,
        result=encode_json({"status": status.value, "content": outcome.content}),
        **key,
    )
    return settle(tx, run, call, status, outcome, now)


def _said(verdict: Verdict) -> ToolOutcome:
    """Return a verdict as the model, or the record of a run that has ended, shows it."""
    match verdict.resolution:
        case Resolution.HAPPENED:
            return ToolOutcome(ok=True, content=verdict.result)
        case Resolution.NOT_HAPPENED:
            said = "a person says that this call did not happen"
            return ToolOutcome(ok=False, content=said, error_code="not_happened")
        case Resolution.GIVE_UP:
            said = "a person gave up on this call; go on without it"
            return ToolOutcome(ok=False, content=said, error_code="gave_up")
