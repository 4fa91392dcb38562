"""Asking a person to raise a budget that a run's next call needs.

The question is an approval of kind `budget`; its arguments name the budget and the limit that an
approval gives it, which may be edited.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.store.approvals import waits
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.spending.granting import Lacking
from adapters.store.spending.holds import shown
from domain.approval import Answer, ApprovalStatus, Remember, digest_of_call
from domain.budget import DAY_MS, Period
from domain.errors import ConflictError, InvalidRequestError
from domain.event import EventDraft, EventType, as_json, encode_json
from domain.money import read_usd, to_pico, to_usd
from domain.step import AwaitingBudget

TOOL = "raise_budget"
"""What the question is about, where an approval names a tool."""
_INSERT = (
    "INSERT INTO approvals (approval_id, owner, run_id, tool_call_id, session_id, agent_id,"
    " tool_name, args, args_summary, args_digest, risk, why, asker, policy_print, ruled_at,"
    " status, on_timeout, created_at, kind, budget_id) VALUES (:approval_id, :owner, :run_id,"
    " :call_id, :session_id, :agent_id, :tool, :args, :summary, :digest, 'high', :why, :asker, '',"
    " :now, 'pending', 'reject', :now, 'budget', :budget_id)"
)
_WAITING = (
    "SELECT a.run_id FROM approvals a JOIN runs r ON r.run_id = a.run_id"
    " WHERE a.kind = 'budget' AND a.status = 'pending'{}"
    " AND r.waiting_on = 'budget' ORDER BY a.created_at"
)


def waiting_on(tx: Tx, budget_id: str | None = None) -> Sequence[str]:
    """Return the runs that wait until a person says something about a budget, or about any."""
    which = "" if budget_id is None else " AND a.budget_id = :id"
    params = {} if budget_id is None else {"id": budget_id}
    return [row["run_id"] for row in tx.all(_WAITING.format(which), **params)]


def last_question(tx: Tx, run_id: str, step_id: str) -> Row | None:
    """Return the newest question that was asked for a step."""
    return tx.one(
        "SELECT * FROM approvals WHERE run_id = :run AND kind = 'budget'"
        " AND tool_call_id LIKE :like ORDER BY created_at DESC, tool_call_id DESC LIMIT 1",
        run=run_id,
        like=f"{_subject(run_id, step_id)}:%",
    )


def _subject(run_id: str, step_id: str) -> str:
    return f"budget:{run_id}:{step_id}"


def ask(
    tx: Tx, run: Row, step_id: str, lacking: Lacking, first: list[EventDraft], now: int
) -> AwaitingBudget:
    """Put a question on record and park the run; `first` come before it in the log."""
    budget, needed = lacking.budget, lacking.needed
    before = tx.one(
        "SELECT count(*) AS n FROM approvals WHERE run_id = :run AND kind = 'budget'",
        run=run["run_id"],
    )
    number = (before["n"] if before else 0) + 1
    call_id = f"{_subject(run['run_id'], step_id)}:{number:06d}"
    approval_id = f"ap_{run['run_id'].removeprefix('run_')}_budget_{number}"
    limit = budget["limit_pico"]
    raised = max(2 * limit, budget["spent_pico"] + budget["reserved_pico"] + 2 * needed)
    args = encode_json({"budget_id": budget["budget_id"], "limit_usd": to_usd(raised)})
    why = (
        f"budget {budget['budget_id']} of {to_usd(limit)} USD has"
        f" {to_usd(max(0, limit - budget['spent_pico'] - budget['reserved_pico']))} USD left and"
        f" the next call may cost {to_usd(needed)}"
    )
    summary = f"raise budget {budget['budget_id']} from {to_usd(limit)} to {to_usd(raised)} USD"
    digest = digest_of_call(TOOL, args, call_id)
    tx.run(
        _INSERT,
        approval_id=approval_id,
        owner=run["owner"],
        run_id=run["run_id"],
        call_id=call_id,
        session_id=run["session_id"],
        agent_id=run["agent_id"],
        tool=TOOL,
        args=args,
        summary=summary,
        digest=digest,
        why=why,
        asker=f"agent {run['agent_id']}",
        now=now,
        budget_id=budget["budget_id"],
    )
    data = {
        "approval_id": approval_id,
        "tool_call_id": None,
        "tool_name": TOOL,
        "args": as_json(args),
        "args_summary": summary,
        "args_digest": digest,
        "risk": "high",
        "asks": None,
        "expires_at": None,
        "reason": why,
    }
    required = EventDraft(type=EventType.APPROVAL_REQUIRED, key=f"{approval_id}:asked:0", data=data)
    waits.begin(
        tx,
        run,
        [*first, exhausted(step_id, budget, needed, f":{number}"), required],
        (f"{approval_id}:wait", f"raise budget {budget['budget_id']}"),
        now,
        on="budget",
    )
    return awaiting(approval_id, budget, now)


def awaiting(approval_id: str, budget: Mapping[str, Any], now: int) -> AwaitingBudget:
    """Return how long to wait for a person: a day's budget begins anew at midnight."""
    is_daily = budget["period"] == Period.DAY
    expires = DAY_MS - now % DAY_MS if is_daily else None
    return AwaitingBudget(approval_id, budget["budget_id"], expires)


def look_again(tx: Tx, approval: Row, budget: Mapping[str, Any], now: int) -> AwaitingBudget:
    """Note that the run has looked at a question that still waits."""
    tx.run(
        "UPDATE approvals SET ruled_at = :now WHERE approval_id = :id",
        now=now,
        id=approval["approval_id"],
    )
    return awaiting(approval["approval_id"], budget, now)


def exhausted(step_id: str, budget: Mapping[str, Any], needed: int, again: str = "") -> EventDraft:
    """Return the event of a budget that does not cover a call."""
    data = {
        **shown(budget),
        "needed_usd": to_usd(needed),
        "action": budget["on_exhausted"],
        "step": step_id,
    }
    key = f"{step_id}:{budget['budget_id']}:exhausted{again}"
    return EventDraft(type=EventType.BUDGET_EXHAUSTED, key=key, data=data)


def settle_unneeded(tx: Tx, run: Row, approval: Row, now: int) -> list[EventDraft]:
    """Close a question that nobody has to answer any more: the budget covers the call."""
    said = "the budget covers the call now"
    _write(tx, approval, ("expired", None, said), now, None)
    expired = _expired(approval, said)
    return [expired, *waits.end(tx, run, f"{approval['approval_id']}:resumed")]


def close_with_run(tx: Tx, run_id: str, word: str, now: int) -> list[EventDraft]:
    """Close the questions of a run that ends as `word`."""
    said = f"run {run_id} was {word} first"
    drafts = []
    for approval in tx.all(
        "SELECT * FROM approvals WHERE run_id = :run AND kind = 'budget' AND status = 'pending'",
        run=run_id,
    ):
        _write(tx, approval, ("expired", None, said), now, None)
        drafts.append(_expired(approval, said))
    return drafts


def mark_delivered(tx: Tx, approval: Row, now: int) -> None:
    """Note that the workflow has read the decision, so that nobody wakes it again."""
    tx.run(
        "UPDATE approvals SET woken_at = :now WHERE approval_id = :id AND woken_at IS NULL",
        now=now,
        id=approval["approval_id"],
    )


def decide(tx: Tx, run: Row, approval: Row, said: Answer, now: int) -> None:
    """Put the answer on record; an approval raises the budget.

    Raises:
        InvalidRequestError: the edited limit is none, or there is something to remember.
        ConflictError: the budget is gone, or its limit is as high already.
    """
    if said.remember != Remember.NONE:
        raise InvalidRequestError("what is said of a budget cannot be remembered")
    edited = None
    if said.approved:
        edited = _raise(tx, approval, said, now)
    status = ApprovalStatus.APPROVED if said.approved else ApprovalStatus.REJECTED
    _write(tx, approval, (status.value, said.by, said.reason), now, edited)
    data = {
        "approval_id": approval["approval_id"],
        "tool_call_id": None,
        "decision": status.value,
        "reason": said.reason,
        "decided_by": said.by,
        "args_digest": approval["args_digest"],
        "edited_args": None if edited is None else as_json(edited),
        "remember": Remember.NONE.value,
    }
    key = f"{approval['approval_id']}:decided"
    decided = EventDraft(type=EventType.APPROVAL_DECISION, key=key, data=data)
    resumed = waits.end(tx, run, f"{approval['approval_id']}:resumed")
    last = append(tx, run, [decided, *resumed], now, run["last_seq"])
    tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=run["run_id"])


def _raise(tx: Tx, approval: Row, said: Answer, now: int) -> str | None:
    args = json.loads(approval["args"])
    edited = _edit_of(args, said)
    limit = to_pico(edited or args["limit_usd"])
    budget = tx.one(
        f"SELECT * FROM budgets WHERE budget_id = :id{tx.lock}", id=approval["budget_id"]
    )
    if budget is None or budget["owner"] != approval["owner"]:
        raise ConflictError(f"budget {approval['budget_id']} is gone; the run goes on without it")
    if limit <= budget["limit_pico"] and edited is not None:
        raise ConflictError(
            f"budget {budget['budget_id']} has a limit of {to_usd(budget['limit_pico'])} USD"
            " already; name a higher one"
        )
    tx.run(
        "UPDATE budgets SET limit_pico = :limit, warned = 0, updated_at = :now"
        " WHERE budget_id = :id",
        limit=max(limit, budget["limit_pico"]),
        now=now,
        id=budget["budget_id"],
    )
    return None if edited is None else encode_json({**args, "limit_usd": edited})


def _edit_of(args: dict[str, Any], said: Answer) -> str | None:
    if said.edited_args is None:
        return None
    edited = json.loads(said.edited_args)
    if (
        set(edited) - {"budget_id", "limit_usd"}
        or edited.get("budget_id", args["budget_id"]) != (args["budget_id"])
    ):
        raise InvalidRequestError("of a budget only limit_usd can be edited", field="edited_args")
    return read_usd(edited.get("limit_usd"), field="edited_args")


def _write(
    tx: Tx, approval: Row, end: tuple[str, str | None, str | None], now: int, edited: str | None
) -> None:
    """Write how a question ended: as what, by whom, why."""
    status, by, reason = end
    tx.run(
        "UPDATE approvals SET status = :status, decided_by = :by, decided_at = :now,"
        " reason = :reason, edited_args = :edited, revision = revision + 1"
        " WHERE approval_id = :id AND status = 'pending'",
        status=status,
        by=by,
        now=now,
        reason=reason,
        edited=edited,
        id=approval["approval_id"],
    )


def _expired(approval: Row, reason: str) -> EventDraft:
    data = {
        "approval_id": approval["approval_id"],
        "tool_call_id": None,
        "outcome": "cancelled",
        "asks": None,
        "reason": reason,
    }
    key = f"{approval['approval_id']}:expired:0"
    return EventDraft(type=EventType.APPROVAL_EXPIRED, key=key, data=data)
