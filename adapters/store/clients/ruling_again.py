"""Requests that nobody has taken yet, and whose policy was changed meanwhile: ruled on once more.

One that was taken may have acted, so it is left alone, also when its client is lost.
"""

from adapters.store.approvals import approvals, rulings, toolcalls
from adapters.store.approvals.gate import blocked, ruled
from adapters.store.approvals.rulings import Judged
from adapters.store.clients import requests
from adapters.store.database.tx import Row, Tx
from adapters.store.steps.fence import lock_run, lock_session_and_run
from domain.approval import ApprovalStatus
from domain.clients import RequestStatus
from domain.errors import ConflictError
from domain.policy import PolicyDecision
from domain.run import TERMINAL
from domain.tool import ToolCallStatus


def outdated(tx: Tx) -> list[str]:
    """Return the requests that the policy of now has not ruled on, oldest first."""
    rows = tx.all(
        "SELECT tool_call_id, owner, agent_id, policy_print FROM tool_requests"
        " WHERE status = 'waiting' AND holder IS NULL AND agent_id IS NOT NULL"
        " ORDER BY created_at, tool_call_id"
    )
    agents = {(row["owner"], row["agent_id"]) for row in rows}
    prints = {agent: rulings.print_in_force(tx, *agent) for agent in agents}
    return [
        row["tool_call_id"]
        for row in rows
        if prints[row["owner"], row["agent_id"]] not in (None, row["policy_print"])
    ]


def rule_again(tx: Tx, tool_call_id: str, now: int) -> str | None:
    """Have the policy of now rule on a request; return its run when that has to look."""
    request = requests.of_call(tx, tool_call_id)
    if request is None:
        return None
    run = lock_session_and_run(tx, request["run_id"])
    request = requests.of_call(tx, tool_call_id)
    is_over = run["state"] in TERMINAL or run["cancel_asked_at"] is not None
    if request is None or is_over or not _is_untaken(request):
        return None
    call = toolcalls.call_of_step(tx, run["run_id"], request["step_id"])
    judged = rulings.judge(tx, run, call)
    tx.run(
        "UPDATE tool_requests SET policy_print = :print WHERE tool_call_id = :id",
        print=judged.print,
        id=tool_call_id,
    )
    if _may_be_taken(tx, request, judged):
        return None
    event = ruled(call, judged.ruling, f":request:{request['asked']}")
    if judged.ruling.decision is PolicyDecision.ASK:
        requests.withdraw(tx, call, now)
        approvals.ask(tx, run, call, judged, [event], now)
    else:
        requests.note(tx, run, [event], now)
        end = (ToolCallStatus.REJECTED, blocked(judged.ruling))
        requests.settle(tx, lock_run(tx, run["run_id"]), request, call, end, now)
    return str(run["run_id"])


def check_allowed(tx: Tx, run: Row, request: Row) -> None:
    """Refuse to hand out what the policy of now would not let go: it is about to be ruled on again.

    Raises:
        ConflictError: says so.
    """
    if not _is_untaken(request):
        return
    mark = rulings.print_in_force(tx, request["owner"], request["agent_id"])
    if mark in (None, request["policy_print"]):
        return
    call = toolcalls.call_of_step(tx, run["run_id"], request["step_id"])
    judged = rulings.judge(tx, run, call)
    if not _may_be_taken(tx, request, judged):
        raise ConflictError(
            f"the policy of agent {request['agent_id']} was changed and does not let tool call"
            f" {call['tool_call_id']} go: {judged.ruling.reason}; nothing was handed out"
        )


def _is_untaken(request: Row) -> bool:
    return request["status"] == RequestStatus.WAITING and request["holder"] is None


def _may_be_taken(tx: Tx, request: Row, judged: Judged) -> bool:
    """Whether a client may have it: it is allowed, or what would be asked has been answered."""
    if judged.ruling.decision is not PolicyDecision.ASK:
        return judged.ruling.decision is PolicyDecision.ALLOW
    asked = approvals.of_call(tx, request["tool_call_id"])
    return asked is not None and asked["status"] == ApprovalStatus.APPROVED
