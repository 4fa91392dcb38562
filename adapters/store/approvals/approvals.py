"""Approvals as rows: asked, decided once, expired. The decision is the row; a signal only wakes."""

import json

from adapters.store.approvals import toolcalls, waits
from adapters.store.approvals.rulings import Judged
from adapters.store.database.pages import where
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.sessions import transcript
from domain.approval import BY_TIMEOUT, Answer, digest_of_call, edit_of, risk_of, summary_of
from domain.errors import NotFoundError
from domain.event import EventDraft, EventType, as_json, encode_json
from domain.policy import OnTimeout, is_asked_anyway
from domain.run import RunKind
from domain.step import AwaitingApproval
from domain.tool import Effect, ToolCallStatus, ToolOutcome

_INSERT = (
    "INSERT INTO approvals (approval_id, owner, run_id, tool_call_id, session_id, agent_id,"
    " tool_name, args, args_summary, args_digest, risk, why, asker, policy_print, ruled_at,"
    " status, on_timeout, expires_in_ms, escalate_to, created_at, expires_at,"
    " untrusted) VALUES"
    " (:approval_id, :owner, :run_id, :tool_call_id, :session_id, :agent_id, :tool_name, :args,"
    " :args_summary, :args_digest, :risk, :why, :asker, :policy_print, :now, 'pending',"
    " :on_timeout, :expires_in_ms, :escalate_to, :now, :expires_at, :untrusted)"
)


def read(tx: Tx, owner: str | None, approval_id: str) -> Row:
    """Return an approval's row.

    Raises:
        NotFoundError: no such approval for this owner.
    """
    clause, params = where({"approval_id": approval_id, "owner": owner})
    row = tx.one(f"SELECT * FROM approvals{clause}", **params)
    if row is None:
        raise NotFoundError(f"there is no approval {approval_id}")
    return row


def of_call(tx: Tx, tool_call_id: str) -> Row | None:
    """Return the approval that a call waits for, or was let through by; None if none was asked."""
    return tx.one("SELECT * FROM approvals WHERE tool_call_id = :id", id=tool_call_id)


def ask(
    tx: Tx, run: Row, call: Row, judged: Judged, drafts: list[EventDraft], now: int
) -> AwaitingApproval:
    """Put a question on record and park the run; `drafts` come before it in the log."""
    call_id, asking = call["tool_call_id"], judged.policy.approval
    seconds = asking.expires_in_seconds
    patience = None if seconds is None else max(1, int(seconds * 1000))
    untrusted = is_asked_anyway(
        call["tool_name"], Effect(call["effect"]), is_tainted=judged.is_tainted
    )
    # Strangers may have wanted this call: that nobody looked does not let it run.
    no_answer = OnTimeout.REJECT if untrusted and asking.on_timeout is OnTimeout.APPROVE else None
    approval_id = f"ap_{call_id.removeprefix('tc_')}"
    is_by_hand = run["kind"] == RunKind.TOOL
    tx.run(
        _INSERT,
        approval_id=approval_id,
        owner=run["owner"],
        run_id=run["run_id"],
        tool_call_id=call_id,
        session_id=judged.session_id,
        agent_id=judged.agent_id,
        tool_name=call["tool_name"],
        args=call["args"],
        args_summary=summary_of(call["tool_name"], call["args"]),
        args_digest=digest_of_call(call["tool_name"], call["args"], call_id),
        risk=risk_of(Effect(call["effect"]), is_tainted=judged.is_tainted).value,
        why=judged.ruling.reason,
        asker=f"{'api for ' if is_by_hand else ''}agent {judged.agent_id}",
        policy_print=judged.print,
        on_timeout=(no_answer or asking.on_timeout).value,
        expires_in_ms=patience,
        escalate_to=encode_json(list(asking.escalate_to)),
        now=now,
        expires_at=None if patience is None else now + patience,
        untrusted=untrusted,
    )
    tx.run("UPDATE tool_calls SET status = 'waiting_approval' WHERE tool_call_id = :id", id=call_id)
    row = read(tx, None, approval_id)
    waiting = (f"{approval_id}:wait", f"decide approval {approval_id}")
    waits.begin(tx, run, [*drafts, _required(row)], waiting, now)
    return awaiting(row, now)


def awaiting(approval: Row, now: int) -> AwaitingApproval:
    """Return how long a pending question may still wait."""
    until = approval["expires_at"]
    left = None if until is None else max(0, until - now)
    return AwaitingApproval(approval["tool_call_id"], approval["approval_id"], left)


def is_over(approval: Row, now: int) -> bool:
    """Whether nobody may answer any more."""
    return approval["expires_at"] is not None and now >= approval["expires_at"]


def mark_delivered(tx: Tx, approval: Row, now: int) -> None:
    """Note that the workflow has read the decision, so that nobody wakes it again."""
    tx.run(
        "UPDATE approvals SET woken_at = :now WHERE approval_id = :id AND woken_at IS NULL",
        now=now,
        id=approval["approval_id"],
    )


def approve(tx: Tx, run: Row, call: Row, approval: Row, said: Answer, now: int) -> None:
    """Let a call run, as it is or with other arguments."""
    edited, digest = edit_of(call["args"], said), None
    if edited is not None:
        digest = digest_of_call(call["tool_name"], edited, call["tool_call_id"])
        transcript.edit_call(tx, run, call["tool_call_id"], edited)
    tx.run(
        "UPDATE tool_calls SET status = 'created', args = :args WHERE tool_call_id = :id",
        args=call["args"] if edited is None else edited,
        id=call["tool_call_id"],
    )
    tx.run(
        "UPDATE approvals SET edited_args = :edited, edited_digest = :digest, remember = :remember"
        " WHERE approval_id = :id",
        edited=edited,
        digest=digest,
        remember=said.remember.value,
        id=approval["approval_id"],
    )
    _decided(tx, approval, "approved", said.by, said.reason, now)


def reject(tx: Tx, run: Row, call: Row, approval: Row, said: Answer, now: int) -> list[EventDraft]:
    """End a call with a result that tells the model why; return its event."""
    why = f": {said.reason}" if said.reason else ""
    content = f"this call was rejected and did not run{why}"
    _decided(tx, approval, "rejected", said.by, said.reason, now)
    outcome = ToolOutcome(ok=False, content=content, error_code="rejected")
    return toolcalls.settle(tx, run, call, ToolCallStatus.REJECTED, outcome, now)


def decision_event(approval: Row) -> EventDraft:
    """Return the `approval_decision` of a row that was just decided."""
    edited = approval["edited_args"]
    data = {
        "approval_id": approval["approval_id"],
        "tool_call_id": approval["tool_call_id"],
        "decision": approval["status"],
        "reason": approval["reason"],
        "decided_by": approval["decided_by"],
        "args_digest": approval["edited_digest"] or approval["args_digest"],
        "edited_args": None if edited is None else as_json(edited),
        "remember": approval["remember"],
    }
    key = f"{approval['approval_id']}:decided"
    return EventDraft(type=EventType.APPROVAL_DECISION, key=key, data=data)


def expire(tx: Tx, run: Row, call: Row, approval: Row, now: int) -> Row:
    """Do what was configured for a question that nobody answered, and return its row."""
    on_timeout = OnTimeout(approval["on_timeout"])
    following: list[str] = json.loads(approval["escalate_to"])[approval["escalations"] :]
    if on_timeout is OnTimeout.ESCALATE and following:
        return _escalate(tx, run, approval, following[0], now)
    said = "nobody decided in time"
    answer = Answer(approved=on_timeout is OnTimeout.APPROVE, by=BY_TIMEOUT, reason=said)
    if answer.approved:
        approve(tx, run, call, approval, answer, now)
        drafts = [_expired(approval, "approved", said)]
    else:
        _decided(tx, approval, "expired", answer.by, said, now)
        outcome = ToolOutcome(
            ok=False,
            content="nobody approved this call in time; it did not run",
            error_code="approval_timeout",
        )
        settled = toolcalls.settle(tx, run, call, ToolCallStatus.REJECTED, outcome, now)
        drafts = [_expired(approval, "rejected", said), *settled]
    finish(tx, run, approval, drafts, now)
    return read(tx, None, approval["approval_id"])


def finish(tx: Tx, run: Row, approval: Row, drafts: list[EventDraft], now: int) -> None:
    """Append what a settled question leads to, and let the run go on."""
    drafts = [*drafts, *waits.end(tx, run, f"{approval['approval_id']}:resumed")]
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=run["run_id"])


def close_with_run(tx: Tx, run_id: str, tool_call_id: str, word: str, now: int) -> list[EventDraft]:
    """Close the pending question of a call whose run ends as `word`; return its event."""
    approval = of_call(tx, tool_call_id)
    if approval is None or approval["status"] != "pending":
        return []
    said = f"run {run_id} was {word} first"
    _decided(tx, approval, "expired", None, said, now)
    return [_expired(approval, "cancelled", said)]


def _escalate(tx: Tx, run: Row, approval: Row, who: str, now: int) -> Row:
    """Ask the next one, for as long again."""
    tx.run(
        "UPDATE approvals SET asks = :who, escalations = escalations + 1, revision = revision + 1,"
        " expires_at = :until WHERE approval_id = :id",
        who=who,
        until=now + approval["expires_in_ms"],
        id=approval["approval_id"],
    )
    row = read(tx, None, approval["approval_id"])
    drafts = [_expired(approval, "escalated", "nobody decided in time", who), _required(row)]
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=run["run_id"])
    return row


def _decided(
    tx: Tx, approval: Row, status: str, by: str | None, reason: str | None, now: int
) -> None:
    """Write how a question ended. The run's row is locked, so nobody else does."""
    tx.run(
        "UPDATE approvals SET status = :status, decided_by = :by, decided_at = :now,"
        " reason = :reason, revision = revision + 1 WHERE approval_id = :id AND status = 'pending'",
        status=status,
        by=by,
        now=now,
        reason=reason,
        id=approval["approval_id"],
    )


def _required(approval: Row) -> EventDraft:
    shown = ("approval_id", "tool_call_id", "tool_name", "args_summary", "args_digest")
    data = {name: approval[name] for name in shown} | {
        "args": as_json(approval["args"]),
        "risk": approval["risk"],
        "asks": approval["asks"],
        "expires_at": approval["expires_at"],
        "reason": approval["why"],
    }
    key = f"{approval['approval_id']}:asked:{approval['escalations']}"
    return EventDraft(type=EventType.APPROVAL_REQUIRED, key=key, data=data)


def _expired(approval: Row, outcome: str, reason: str, asks: str | None = None) -> EventDraft:
    data = {
        "approval_id": approval["approval_id"],
        "tool_call_id": approval["tool_call_id"],
        "outcome": outcome,
        "asks": asks,
        "reason": reason,
    }
    key = f"{approval['approval_id']}:expired:{approval['escalations']}"
    return EventDraft(type=EventType.APPROVAL_EXPIRED, key=key, data=data)
