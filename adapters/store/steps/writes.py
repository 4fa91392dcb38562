"""What an open attempt may write: deltas, its end, its failure. All behind the fence."""

from collections.abc import Sequence
from typing import Any

from adapters.store.approvals import toolcalls
from adapters.store.approvals.taint import is_external
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.runs.accept import INSERT_TOOL_CALL
from adapters.store.sessions import transcript
from adapters.store.spending import health, rates
from adapters.store.spending.holds import caller_of
from adapters.store.steps import billing
from adapters.store.steps.fence import check_attempt, check_open, lock_run, lock_session_and_run
from domain.agent import is_agent_model
from domain.event import EventDraft, EventType, as_json, encode_json
from domain.run import assistant_output
from domain.spending import NO_RULES, BreakerRules, SpendingRules
from domain.step import Attempt, CallBill, Closing, NewToolCall
from domain.tool import ToolCallStatus, ToolOutcome, refused


def append_delta(tx: Tx, who: Attempt, text: str, index: int, now: int) -> None:
    """Append the next piece of the answer; `index` counts the pieces of this attempt.

    Raises:
        StepRefusedError: the attempt is no longer current, or the run ends.
    """
    run = lock_run(tx, who.run_id)
    check_open(run)
    check_attempt(tx, run, who.step_id, who.number)
    last = append(tx, run, [_delta(who, text, index)], now, run["last_seq"])
    if last == run["last_seq"]:
        return  # written before; its reply was lost
    tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=who.run_id)
    tx.run(
        "UPDATE steps SET streamed_chars = streamed_chars + :n, has_deltas = true"
        " WHERE run_id = :run AND step_id = :step",
        n=len(text.encode("utf-8", "replace")),  # bytes, whatever the column is called
        run=who.run_id,
        step=who.step_id,
    )


def _delta(who: Attempt, text: str, index: int) -> EventDraft:
    return EventDraft(
        type=EventType.AGENT_STREAM_DELTA,
        key=f"{who.step_id}:{who.number}:{index}",
        data={"text": text, "step": who.step_id, "attempt": who.number},
    )


def _reset(who: Attempt) -> EventDraft:
    return EventDraft(
        type=EventType.AGENT_STREAM_RESET,
        key=f"{who.step_id}:{who.number}:replaced",
        data={"step": who.step_id, "attempt": who.number},
    )


def close_step(
    tx: Tx, who: Attempt, closing: Closing, now: int, rules: SpendingRules = NO_RULES
) -> None:
    """End a step for good: result, messages, tool calls, bill and events in one transaction.

    Raises:
        StepRefusedError: the attempt is no longer current, or the run has ended.
    """
    run = lock_session_and_run(tx, who.run_id)
    step = check_attempt(tx, run, who.step_id, who.number)
    _close_row(tx, who, closing.result, now)
    drafts = []
    if closing.replaces_stream:
        drafts.append(_reset(who))
    if closing.last_delta:
        drafts.append(_delta(who, closing.last_delta, closing.delta_index))
    if closing.bill is not None:
        drafts += billing.bill_attempt(tx, run, step, closing.bill, now)
    if step["model"] is not None and not is_agent_model(step["model"]):
        _note_answer(tx, step, closing.bill, rules, now)
    # An external agent is a stranger to whoever reads this session next.
    transcript.extend(tx, run, closing.messages, now, untrusted=is_external(run))
    for call in closing.tool_calls:
        drafts.append(_create_call(tx, run, call, now))
    for call, outcome in closing.refused:
        drafts.append(_create_call(tx, run, call, now))
        row = toolcalls.call_of_step(tx, who.run_id, call.step_id)
        drafts += toolcalls.settle(tx, run, row, ToolCallStatus.REJECTED, outcome, now)
    drafts += closing.events
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run(
        "UPDATE runs SET last_seq = :last, turns = turns + :turn,"
        " output = coalesce(:output, output) WHERE run_id = :id",
        last=last,
        turn=1 if closing.is_turn else 0,
        output=_output(closing),
        id=who.run_id,
    )


def _note_answer(tx: Tx, step: Row, bill: CallBill | None, rules: SpendingRules, now: int) -> None:
    """Give the unused tokens back to the provider's rates, and note that the model is well."""
    if bill is not None and not bill.estimated:
        unused = step["input_estimate"] + step["output_estimate"] - bill.tokens
        rates.give_back(tx, step["model"], unused, rules.per_minute, now)
    health.note_success(tx, step["model"], now)


def _output(closing: Closing) -> str | None:
    if closing.final_text is None:
        return None
    why = closing.bill.stop_reason if closing.bill else None
    return encode_json(assistant_output(closing.final_text, why, closing.degraded))


def _close_row(tx: Tx, who: Attempt, result: dict[str, object], now: int) -> None:
    tx.run(
        "UPDATE steps SET state = 'closed', closed_at = :now, result = :result"
        " WHERE run_id = :run AND step_id = :step",
        now=now,
        result=encode_json(result),
        run=who.run_id,
        step=who.step_id,
    )


def _create_call(tx: Tx, run: Row, call: NewToolCall, now: int) -> EventDraft:
    tx.run(
        INSERT_TOOL_CALL,
        tool_call_id=call.tool_call_id,
        owner=run["owner"],
        run_id=run["run_id"],
        step_id=call.step_id,
        tool_name=call.name,
        args=call.args,
        effect=call.effect,
        provider_call_id=call.tool_call_id,
        idempotency_key=f"{run['run_id']}:{call.tool_call_id}",
        now=now,
    )
    data = {
        "tool_call_id": call.tool_call_id,
        "tool_name": call.name,
        "args": as_json(call.args),
        "kind": call.kind,
        "step": call.step_id,
    }
    key = f"{call.tool_call_id}:created"
    return EventDraft(type=EventType.TOOL_CALL_CREATED, key=key, data=data)


def close_tool_step(
    tx: Tx, who: Attempt, status: ToolCallStatus, outcome: ToolOutcome, now: int
) -> None:
    """End a tool's step: row, message to the model, `tool_result`.

    Raises:
        StepRefusedError: the attempt is no longer current, or the run has ended.
    """
    run = lock_session_and_run(tx, who.run_id)
    check_attempt(tx, run, who.step_id, who.number)
    said: dict[str, Any] = {"status": status.value, "content": outcome.content}
    _close_row(tx, who, said | refused(outcome.error_code), now)
    call = toolcalls.call_of_step(tx, who.run_id, who.step_id)
    drafts = toolcalls.settle(tx, run, call, status, outcome, now)
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=who.run_id)


def fail_attempt(tx: Tx, who: Attempt, bill: CallBill | None, rules: BreakerRules, now: int) -> int:
    """End an attempt that failed and return how many attempts of the step have failed so far.

    Raises:
        StepRefusedError: the attempt is no longer current, or the run has ended.
    """
    run = lock_run(tx, who.run_id)
    step = check_attempt(tx, run, who.step_id, who.number)
    if bill is not None:
        drafts = billing.bill_attempt(tx, run, step, bill, now)
        last = append(tx, run, drafts, now, run["last_seq"])
        tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=who.run_id)
        if step["model"] is not None and bill.error is not None:
            caller = caller_of(who.run_id, who.step_id)
            health.note_failure(tx, caller, bill, rules, now)
    tx.run(
        "UPDATE steps SET state = 'idle', failures = failures + 1"
        " WHERE run_id = :run AND step_id = :step",
        run=who.run_id,
        step=who.step_id,
    )
    return int(step["failures"]) + 1


def release_attempt(tx: Tx, who: Attempt, unseen: int, now: int) -> None:
    """End an attempt that a drain cut; it counts for nothing, but what it used is billed.

    `unseen` are bytes that its model sent and that stand in no row: thinking, arguments.

    Raises:
        StepRefusedError: the attempt is no longer current, or the run has ended.
    """
    run = lock_run(tx, who.run_id)
    step = check_attempt(tx, run, who.step_id, who.number)
    if step["model"] is not None:
        error = {"code": "worker_shutdown", "message": "the worker stopped; another goes on"}
        bill = billing.estimated_bill(run, step, now, error, unseen)
        drafts = billing.bill_attempt(tx, run, step, bill, now)
        last = append(tx, run, drafts, now, run["last_seq"])
        health.free_probe(tx, step["model"], caller_of(who.run_id, who.step_id))
        tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=who.run_id)
    tx.run(
        "UPDATE steps SET state = 'idle' WHERE run_id = :run AND step_id = :step",
        run=who.run_id,
        step=who.step_id,
    )


def mark_unknown(tx: Tx, who: Attempt, reason: str, now: int) -> str:
    """Give up on knowing what an unsafe tool did; return the call a person has to resolve.

    Raises:
        StepRefusedError: the attempt is no longer current, or the run has ended.
    """
    run = lock_run(tx, who.run_id)
    check_attempt(tx, run, who.step_id, who.number)
    call = toolcalls.call_of_step(tx, who.run_id, who.step_id)
    toolcalls.set_unknown(tx, run, call, reason, now)
    return str(call["tool_call_id"])


def append_events(tx: Tx, who: Attempt, drafts: Sequence[EventDraft], now: int) -> None:
    """Append other events of an open attempt (an external agent's states).

    Raises:
        StepRefusedError: the attempt is no longer current, or the run has ended.
    """
    run = lock_run(tx, who.run_id)
    check_attempt(tx, run, who.step_id, who.number)
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=who.run_id)
