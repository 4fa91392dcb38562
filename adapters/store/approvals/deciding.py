"""Answers to approvals: each a compare-and-set with its event, in one transaction."""

import json

from adapters.store.approvals import answers, approvals, rulings
from adapters.store.approvals.approvals import read
from adapters.store.approvals.gate import ruled
from adapters.store.approvals.remembering import remember
from adapters.store.database.tx import Row, Tx
from adapters.store.runs import keys
from adapters.store.spending import asking
from adapters.store.steps.fence import lock_session_and_run
from domain.acceptance import IdempotencyKey
from domain.approval import BY_POLICY, Answer, ApprovalStatus, Remember
from domain.errors import (
    ApprovalDecidedError,
    ApprovalExpiredError,
    ConflictError,
    RunTerminalError,
)
from domain.event import EventDraft
from domain.policy import PolicyDecision, print_of
from domain.refusal import FirstAnswer
from domain.run import TERMINAL

_PENDING = (
    "SELECT p.approval_id, p.owner, p.agent_id, p.policy_print, EXISTS (SELECT 1 FROM approvals r"
    " WHERE r.remember <> 'none' AND r.owner = p.owner AND r.tool_name = p.tool_name"
    " AND r.status = 'approved' AND r.agent_id = p.agent_id AND r.policy_print = p.policy_print"
    " AND (r.remember = 'agent' OR r.session_id = p.session_id) AND r.decided_at >= p.ruled_at)"
    " AS answered FROM approvals p WHERE p.status = 'pending' AND p.kind = 'tool'"
    " ORDER BY p.created_at, p.approval_id"
)


def decide(tx: Tx, owner: str | None, approval_id: str, said: Answer, now: int) -> Row:
    """Put an answer on record and return the approval. The first answer counts.

    Raises:
        NotFoundError: no such approval for this owner.
        ApprovalDecidedError, ApprovalExpiredError, RunTerminalError: it is too late.
        ConflictError: the answer is about other arguments than those asked about, or the policy
            blocks what would run.
        InvalidRequestError: the edited arguments do not fit, or nothing can be remembered.
    """
    answers.check_form(said)
    run = lock_session_and_run(tx, read(tx, owner, approval_id)["run_id"])
    approval = read(tx, owner, approval_id)
    _check_open(run, approval, now)
    if said.args_digest not in (None, approval["args_digest"]):
        raise ConflictError(
            f"approval {approval_id} is about other arguments; look at it again and decide anew"
        )
    if approval["kind"] == "budget":
        asking.decide(tx, run, approval, said, now)
        return read(tx, None, approval_id)
    if not said.approved:
        _apply(tx, run, approval, said, [], now)
        return read(tx, None, approval_id)
    first, judged = answers.check_approval(tx, run, _call_of(tx, approval), said)
    _apply(tx, run, approval, said, first, now)
    if said.remember != Remember.NONE:
        remember(tx, approval, judged.print)
    return read(tx, None, approval_id)


def decide_once(
    tx: Tx, owner: str, approval_id: str, said: Answer, key: IdempotencyKey, now: int
) -> tuple[Row, bool]:
    """Decide; or return the approval that this key decided before, and True.

    Raises:
        IdempotencyKeyConflictError: the key was used for another answer.
        and as `decide`, which takes the key back: it is claimed in the same transaction.
    """
    if keys.claim(tx, owner, key, approval_id, now) is not None:
        return read(tx, owner, approval_id), True
    return decide(tx, owner, approval_id, said, now), False


def outdated(tx: Tx) -> list[str]:
    """Return the pending approvals that should be ruled on again, oldest first.

    Their agent's policy was changed since (an agent that is gone changes nothing), or an approval
    was remembered that may answer them.
    """
    agents = {
        (row["owner"], row["agent_id"]): print_of(json.loads(row["body"]).get("tool_policy", {}))
        for row in tx.all(
            "SELECT owner, agent_id, body FROM agents WHERE agent_id IN"
            " (SELECT agent_id FROM approvals WHERE status = 'pending')"
        )
    }
    found = []
    for row in tx.all(_PENDING):
        mine, shared = (row["owner"], row["agent_id"]), ("", row["agent_id"])
        mark = agents.get(mine) or agents.get(shared) or row["policy_print"]
        if mark != row["policy_print"] or row["answered"]:
            found.append(row["approval_id"])
    return found


def revisit(tx: Tx, approval_id: str, now: int) -> Row | None:
    """Rule again on a pending approval; return it when the policy settled the question."""
    run = lock_session_and_run(tx, read(tx, None, approval_id)["run_id"])
    approval = read(tx, None, approval_id)
    if approval["status"] != ApprovalStatus.PENDING or run["cancel_asked_at"] is not None:
        return None
    call = _call_of(tx, approval)
    judged = rulings.judge(tx, run, call)
    tx.run(
        "UPDATE approvals SET policy_print = :print, ruled_at = :now WHERE approval_id = :id",
        print=judged.print,
        now=now,
        id=approval_id,
    )
    if judged.ruling.decision is PolicyDecision.ASK:
        return None
    is_allowed = judged.ruling.decision is PolicyDecision.ALLOW
    said = Answer(approved=is_allowed, by=BY_POLICY, reason=judged.ruling.reason)
    again = ruled(call, judged.ruling, f":{approval['revision']}")
    _apply(tx, run, approval, said, [again], now)
    return read(tx, None, approval_id)


def _check_open(run: Row, approval: Row, now: int) -> None:
    approval_id, status = approval["approval_id"], approval["status"]
    if status == ApprovalStatus.PENDING and run["state"] not in TERMINAL:
        if run["cancel_asked_at"] is not None:
            raise RunTerminalError(f"run {run['run_id']} is being cancelled; nothing was decided")
        if approvals.is_over(approval, now):
            raise ApprovalExpiredError(f"the time of approval {approval_id} is over")
        return
    if status in (ApprovalStatus.APPROVED, ApprovalStatus.REJECTED):
        first = FirstAnswer(status, approval["decided_by"], approval["decided_at"])
        raise ApprovalDecidedError(approval_id, first)
    if run["state"] in TERMINAL:
        raise RunTerminalError(
            f"run {run['run_id']} is {run['state']}; approval {approval_id} cannot be decided"
        )
    raise ApprovalExpiredError(f"approval {approval_id} has expired: {approval['reason']}")


def _apply(
    tx: Tx, run: Row, approval: Row, said: Answer, first: list[EventDraft], now: int
) -> None:
    call, settled = _call_of(tx, approval), list[EventDraft]()
    if said.approved:
        approvals.approve(tx, run, call, approval, said, now)
    else:
        settled = approvals.reject(tx, run, call, approval, said, now)
    event = approvals.decision_event(read(tx, None, approval["approval_id"]))
    approvals.finish(tx, run, approval, [*first, event, *settled], now)


def _call_of(tx: Tx, approval: Row) -> Row:
    call = tx.one("SELECT * FROM tool_calls WHERE tool_call_id = :id", id=approval["tool_call_id"])
    assert call is not None
    return call
