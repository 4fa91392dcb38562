"""What clients are asked to run, as rows: asked where a step would open, given up when it is late.

A call that a client runs has no step of its own. Source: ADR 0012.
"""

import json

from adapters.store.approvals import rulings, toolcalls, waits
from adapters.store.clients import hosts
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from domain.clients import RequestStatus
from domain.event import EventDraft, EventType, as_json
from domain.jsonschema import problems
from domain.run import RunSpec
from domain.step import AlreadyClosed, AwaitingClient, Execution, OutcomeUnknown
from domain.tool import (
    INVALID_ARGUMENTS,
    Effect,
    Offline,
    ToolCallStatus,
    ToolOutcome,
    ToolSpec,
    refused,
)

Held = AlreadyClosed | AwaitingClient | OutcomeUnknown
OPEN = "('waiting', 'taken')"
_PUT = (
    "INSERT INTO tool_requests (tool_call_id, owner, run_id, step_id, tool_name, audience, host_id,"
    " offline, status, asked, created_at, expires_at, timeout_ms, agent_id, policy_print) VALUES"
    " (:tool_call_id, :owner, :run_id, :step_id, :tool_name, :audience, :host_id, :offline,"
    " 'waiting', 1, :now, :expires_at, :timeout_ms, :agent_id, :policy_print)"
    " ON CONFLICT (tool_call_id) DO UPDATE SET status = 'waiting',"
    " asked = tool_requests.asked + 1, holder = NULL, holder_host = NULL, lease_until = NULL,"
    " claim_key = NULL, result_digest = NULL, news_at = NULL, woken_at = NULL,"
    " created_at = excluded.created_at, expires_at = excluded.expires_at,"
    " agent_id = excluded.agent_id, policy_print = excluded.policy_print"
)


def has_client_tools(run: Row) -> bool:
    """Whether a run may ask clients: most may not, and need not be looked at closer."""
    return '"source":"client"' in run["spec"]


def client_tool(run: Row, name: str) -> ToolSpec | None:
    """Return the client's tool of that name in a run, if there is one."""
    if not has_client_tools(run):
        return None
    tools = RunSpec.model_validate_json(run["spec"]).tools
    return next((tool for tool in tools if tool.name == name and tool.client), None)


def of_call(tx: Tx, tool_call_id: str) -> Row | None:
    """Return the request of a call, None if no client was ever asked."""
    return tx.one("SELECT * FROM tool_requests WHERE tool_call_id = :id", id=tool_call_id)


def look_again(tx: Tx, run: Row, who: Execution, now: int) -> Held | None:
    """Say what became of a call that a client was asked to run; None when it has to be asked."""
    if not has_client_tools(run):
        return None
    call = toolcalls.call_of_step(tx, who.run_id, who.step_id)
    request = of_call(tx, call["tool_call_id"])
    if request is None:
        return None
    if request["status"] in (RequestStatus.WAITING, RequestStatus.TAKEN):
        if now < request["expires_at"]:
            return AwaitingClient(call["tool_call_id"], request["expires_at"] - now)
        expire(tx, run, request, call, now)
        call = toolcalls.call_of_step(tx, who.run_id, who.step_id)
    _mark_delivered(tx, who, call, now)
    if call["status"] == ToolCallStatus.OUTCOME_UNKNOWN:
        return OutcomeUnknown(call["tool_call_id"])
    if call["ended_at"] is not None:
        return AlreadyClosed({"status": call["status"]})
    return None  # a person says that it did not happen


def _mark_delivered(tx: Tx, who: Execution, call: Row, now: int) -> None:
    """Note that the workflow has seen what there is, so that nobody wakes it again."""
    toolcalls.mark_woken(tx, who, now)
    tx.run(
        "UPDATE tool_requests SET woken_at = :now WHERE tool_call_id = :id AND woken_at IS NULL",
        now=now,
        id=call["tool_call_id"],
    )


def ask(tx: Tx, run: Row, who: Execution, now: int) -> Held | None:
    """Ask a client to run the step's call; None when it is not a client's.

    What no client could do is answered here: arguments that do not fit, nobody there.
    """
    call = toolcalls.call_of_step(tx, who.run_id, who.step_id)
    spec = client_tool(run, call["tool_name"])
    if spec is None or spec.client is None:
        return None
    earlier = of_call(tx, call["tool_call_id"])
    asked = earlier["asked"] + 1 if earlier else 1
    drafts = _dispatched(tx, call, asked)
    refusal = _refusal(tx, call, spec, now)
    if refusal is not None:
        drafts += toolcalls.settle(tx, run, call, ToolCallStatus.FAILED, refusal, now)
        note(tx, run, drafts, now)
        said = refused(refusal.error_code)
        return AlreadyClosed({"status": ToolCallStatus.FAILED.value, **said})
    timeout_ms = max(1, int(spec.timeout_seconds * 1000))
    agent_id, policy_print = rulings.mark_of(tx, run)
    tx.run(
        _PUT,
        tool_call_id=call["tool_call_id"],
        owner=run["owner"],
        run_id=run["run_id"],
        step_id=call["step_id"],
        tool_name=call["tool_name"],
        audience=spec.client.audience.value,
        host_id=spec.client.host_id,
        offline=spec.client.offline.value,
        now=now,
        expires_at=now + timeout_ms,
        timeout_ms=timeout_ms,
        agent_id=agent_id,
        policy_print=policy_print,
    )
    tx.run(
        "UPDATE tool_calls SET status = 'dispatched' WHERE tool_call_id = :id",
        id=call["tool_call_id"],
    )
    request = _request_event(call, spec, asked, now + timeout_ms)
    why = (f"{call['tool_call_id']}:client:{asked}", f"a client runs {call['tool_name']}")
    waits.begin(tx, run, [*drafts, request], why, now, on="client_tool")
    return AwaitingClient(call["tool_call_id"], timeout_ms)


def _dispatched(tx: Tx, call: Row, asked: int) -> list[EventDraft]:
    if asked == 1:
        sql = "UPDATE runs SET tool_calls = tool_calls + 1 WHERE run_id = :id"
        tx.run(sql, id=call["run_id"])
    data = {"tool_call_id": call["tool_call_id"], "tool_name": call["tool_name"], "attempt": asked}
    key = f"{call['step_id']}:{asked}:dispatched"
    return [EventDraft(type=EventType.TOOL_DISPATCHED, key=key, data=data)]


def _request_event(call: Row, spec: ToolSpec, asked: int, deadline: int) -> EventDraft:
    data = {
        "tool_call_id": call["tool_call_id"],
        "tool_name": call["tool_name"],
        "args": as_json(call["args"]),
        "effect": call["effect"],
        "host_id": spec.client.host_id if spec.client else None,
        "deadline_ts": deadline,
    }
    key = f"{call['tool_call_id']}:request:{asked}"
    return EventDraft(type=EventType.TOOL_REQUEST, key=key, data=data)


def _refusal(tx: Tx, call: Row, spec: ToolSpec, now: int) -> ToolOutcome | None:
    wrong = _wrong_arguments(call["args"], spec)
    if wrong:
        said = f"invalid arguments, nothing was done: {'; '.join(wrong)}"
        return ToolOutcome(ok=False, content=said[:4000], error_code=INVALID_ARGUMENTS)
    client = spec.client
    if client and client.offline is Offline.FAIL:
        is_there = hosts.is_served(tx, call["owner"], call["tool_name"], client.host_id, now)
        if not is_there:
            return _offline(call["tool_name"], "nothing was done")
    return None


def _wrong_arguments(args: str, spec: ToolSpec) -> list[str]:
    try:
        value = json.loads(args or "{}")
    except (ValueError, RecursionError):
        return ["the arguments are not JSON"]
    if not isinstance(value, dict):
        return ["the arguments are not a JSON object"]
    return problems(spec.parameters, value)


def _offline(tool: str, done: str) -> ToolOutcome:
    said = f"no client that runs {tool} is there; {done}"
    return ToolOutcome(ok=False, content=said, error_code="client_offline")


def expire(tx: Tx, run: Row, request: Row, call: Row, now: int) -> None:
    """Do what follows when nobody answered in time: an unsafe call may have acted once taken."""
    if _may_have_acted(request, call):
        leave_to_person(tx, run, call, "the client that took this call did not answer in time", now)
        return
    seconds = request["timeout_ms"] / 1000
    outcome = ToolOutcome(
        ok=False,
        content=f"no client answered this call within {seconds:g} s",
        error_code="tool_timeout",
    )
    settle(tx, run, request, call, (ToolCallStatus.TIMEOUT, outcome), now)


def lose(tx: Tx, run: Row, request: Row, call: Row, now: int) -> None:
    """Take a call back from a client that is no longer heard of."""
    if _may_have_acted(request, call):
        leave_to_person(tx, run, call, "the client that took this call is no longer heard of", now)
        return
    tx.run(
        "UPDATE tool_requests SET status = 'waiting', lease_until = NULL WHERE tool_call_id = :id",
        id=call["tool_call_id"],
    )
    sql = "UPDATE tool_calls SET status = 'dispatched' WHERE tool_call_id = :id"
    tx.run(sql, id=call["tool_call_id"])


def fail_offline(tx: Tx, run: Row, request: Row, call: Row, now: int) -> None:
    """Answer a call whose clients have all gone."""
    done = "it may have been begun" if request["dispatch"] else "nothing was done"
    outcome = _offline(call["tool_name"], done)
    settle(tx, run, request, call, (ToolCallStatus.FAILED, outcome), now)


def settle(
    tx: Tx,
    run: Row,
    request: Row,
    call: Row,
    end: tuple[ToolCallStatus, ToolOutcome],
    now: int,
) -> None:
    """Give a call its outcome and let the run go on."""
    withdraw(tx, call, now)
    drafts = toolcalls.settle(tx, run, call, *end, now)
    drafts += waits.end(tx, run, f"{call['tool_call_id']}:answered:{request['asked']}")
    note(tx, run, drafts, now)


def close_with_run(tx: Tx, call: Row) -> bool:
    """Close the request of a call whose run ends; say whether the call may have acted."""
    request = of_call(tx, call["tool_call_id"])
    if request is None or request["status"] == RequestStatus.CLOSED:
        return False
    sql = "UPDATE tool_requests SET status = 'closed' WHERE tool_call_id = :id"
    tx.run(sql, id=call["tool_call_id"])
    return _may_have_acted(request, call)


def _may_have_acted(request: Row, call: Row) -> bool:
    is_taken = request["status"] == RequestStatus.TAKEN
    return is_taken and bool(call["effect"] == Effect.UNSAFE)


def withdraw(tx: Tx, call: Row, now: int) -> None:
    """Ask no client any more; the run looks what became of its call instead."""
    _news(tx, call, RequestStatus.CLOSED, now)


def leave_to_person(tx: Tx, run: Row, call: Row, why: str, now: int) -> None:
    """Park a call that may have acted, and its run, until a person resolves it."""
    _news(tx, call, RequestStatus.UNKNOWN, now)
    toolcalls.set_unknown(tx, run, call, why, now)


def _news(tx: Tx, call: Row, status: RequestStatus, now: int) -> None:
    tx.run(
        "UPDATE tool_requests SET status = :status, news_at = :now, woken_at = NULL"
        " WHERE tool_call_id = :id",
        status=status.value,
        now=now,
        id=call["tool_call_id"],
    )


def note(tx: Tx, run: Row, drafts: list[EventDraft], now: int) -> None:
    """Append events to a run's log."""
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=run["run_id"])
