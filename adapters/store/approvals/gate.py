"""Before a tool call runs for the first time: the policy rules, and people are asked if it says so.

All of it inside the transaction that would open the call's step, so a crash leaves either nothing
or the whole decision, and a second opening finds it.
"""

import json

from adapters.store.approvals import approvals, rulings, taint, toolcalls
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.steps.fence import lock_run
from domain.approval import ApprovalStatus, digest_of_call
from domain.errors import StepRefusedError
from domain.event import EventDraft, EventType, encode_json
from domain.policy import PolicyDecision, Ruling
from domain.run import RunState
from domain.step import AlreadyClosed, AwaitingApproval, Execution
from domain.tool import ToolCallStatus, ToolOutcome, refused

Held = AlreadyClosed | AwaitingApproval
"""Why a call does not run now; None lets it pass."""


def pass_gate(tx: Tx, run: Row, who: Execution, now: int) -> Held | None:
    """Say whether a call that was never opened may run now.

    Raises:
        StepRefusedError: its arguments are not those that were approved.
    """
    call = toolcalls.call_of_step(tx, who.run_id, who.step_id)
    approval = approvals.of_call(tx, call["tool_call_id"])
    if approval is not None:
        return _asked_before(tx, run, call, approval, now)
    if call["ended_at"] is not None:
        return _closed(call)
    return _judge(tx, run, call, now)


def _closed(call: Row) -> AlreadyClosed:
    error = json.loads(call["error"]) if call["error"] else {}
    return AlreadyClosed({"status": call["status"], **refused(error.get("code"))})


def _judge(tx: Tx, run: Row, call: Row, now: int) -> Held | None:
    taint.mark_call(tx, run, call)
    judged = rulings.judge(tx, run, call)
    # A client's call that did not happen comes here once more.
    again = f":again:{call['unknown_count']}" if call["unknown_count"] else ""
    drafts = [*first_events(run), ruled(call, judged.ruling, again)]
    match judged.ruling.decision:
        case PolicyDecision.ALLOW:
            _write(tx, run, drafts, now)
            return None
        case PolicyDecision.BLOCK:
            return _block(tx, run, call, judged.ruling, drafts, now)
        case PolicyDecision.ASK:
            return approvals.ask(tx, run, call, judged, drafts, now)


def _block(
    tx: Tx, run: Row, call: Row, ruling: Ruling, drafts: list[EventDraft], now: int
) -> AlreadyClosed:
    outcome = blocked(ruling)
    drafts += toolcalls.settle(tx, run, call, ToolCallStatus.REJECTED, outcome, now)
    _write(tx, run, drafts, now)
    return AlreadyClosed({"status": ToolCallStatus.REJECTED.value})


def blocked(ruling: Ruling) -> ToolOutcome:
    """Return what the model reads of a call that may not run."""
    said = f"the tool policy does not allow this call: {ruling.reason}"
    return ToolOutcome(ok=False, content=said, error_code="blocked")


def _write(tx: Tx, run: Row, drafts: list[EventDraft], now: int) -> None:
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run(
        "UPDATE runs SET last_seq = :last, state = 'RUNNING',"
        " started_at = coalesce(started_at, :now) WHERE run_id = :id",
        last=last,
        now=now,
        id=run["run_id"],
    )


def _asked_before(tx: Tx, run: Row, call: Row, approval: Row, now: int) -> Held | None:
    if approval["status"] == ApprovalStatus.PENDING:
        if not approvals.is_over(approval, now):
            return approvals.awaiting(approval, now)
        approval = approvals.expire(tx, run, call, approval, now)
        if approval["status"] == ApprovalStatus.PENDING:
            return approvals.awaiting(approval, now)
        call = toolcalls.call_of_step(tx, run["run_id"], call["step_id"])
    approvals.mark_delivered(tx, approval, now)
    if approval["status"] != ApprovalStatus.APPROVED or call["ended_at"] is not None:
        return _closed(call)
    digest = approval["edited_digest"] or approval["args_digest"]
    if digest_of_call(call["tool_name"], call["args"], call["tool_call_id"]) != digest:
        raise StepRefusedError(
            f"tool call {call['tool_call_id']} is not what approval {approval['approval_id']} is"
            " about; it was not run",
            reason="approval_mismatch",
        )
    return _unless_blocked(tx, run, call, "start", now)


def pass_again(tx: Tx, run: Row, who: Execution, now: int) -> Held | None:
    """Say whether a call may run again of which a person says that it did not happen.

    That person has answered what would be asked; what is blocked by now stays undone.
    """
    call = toolcalls.call_of_step(tx, who.run_id, who.step_id)
    if call["status"] != ToolCallStatus.CREATED:
        return None  # it failed and is tried again: once begun, a call is not ruled on any more
    held = _unless_blocked(tx, run, call, f"again:{call['unknown_count']}", now)
    if held is not None:
        toolcalls.mark_woken(tx, who, now)
        tx.run(
            "UPDATE steps SET state = 'closed', closed_at = :now, result = :result"
            " WHERE run_id = :run AND step_id = :step",
            now=now,
            result=encode_json(held.result),
            run=who.run_id,
            step=who.step_id,
        )
    return held


def _unless_blocked(tx: Tx, run: Row, call: Row, when: str, now: int) -> AlreadyClosed | None:
    """Close a call that somebody let run and that the policy of now blocks."""
    judged = rulings.judge(tx, run, call)
    if judged.ruling.decision is not PolicyDecision.BLOCK:
        return None
    run = lock_run(tx, run["run_id"])  # an expiry may have been written just now
    return _block(tx, run, call, judged.ruling, [ruled(call, judged.ruling, f":{when}")], now)


def ruled(call: Row, ruling: Ruling, again: str = "") -> EventDraft:
    """Return the `policy_decision` about a call; `again` tells later ones apart."""
    data = {
        "tool_call_id": call["tool_call_id"],
        "tool_name": call["tool_name"],
        "decision": ruling.decision.value,
        "reason": ruling.reason,
    }
    key = f"{call['tool_call_id']}:policy{again}"
    return EventDraft(type=EventType.POLICY_DECISION, key=key, data=data)


def first_events(run: Row) -> list[EventDraft]:
    """Return `run_started` for a run that has not begun."""
    if run["state"] != RunState.CREATED:
        return []
    data = {"agent_id": run["agent_id"], "kind": run["kind"]}
    return [EventDraft(type=EventType.RUN_STARTED, key="run_started", data=data)]
