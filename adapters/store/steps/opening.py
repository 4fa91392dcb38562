"""Opening a step: the transaction that mints an attempt, or says why none is needed."""

import json
from dataclasses import replace

from adapters.store.approvals import toolcalls
from adapters.store.approvals.gate import first_events, pass_again, pass_gate
from adapters.store.children import spawning
from adapters.store.children.family import lock_line
from adapters.store.clients import requests
from adapters.store.database.rows import usage_from
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.sessions import transcript
from adapters.store.sessions.steering import content_for, place_unseen
from adapters.store.spending import granting
from adapters.store.spending.granting import Grant
from adapters.store.steps import models, patience
from adapters.store.steps.fence import (
    check_open,
    lock_run,
    lock_session_and_run,
    note_execution,
    read_step,
)
from adapters.store.steps.models import Asked
from domain.anew import size_of
from domain.bounds import NOTHING_BOUND, CallBound, Rates
from domain.chat import ChatMessage
from domain.errors import StepRefusedError
from domain.event import EventDraft, EventType
from domain.run import RunSpec
from domain.spending import NO_RULES, SpendingRules
from domain.step import (
    AlreadyClosed,
    CallPlan,
    Execution,
    Older,
    Opened,
    Opening,
    OutcomeUnknown,
    StepState,
    Withheld,
    invoke_step,
)
from domain.tool import Effect

POISON_OPENINGS = 10
"""Openings without an outcome and without getting further, after which a step is poison."""

_PUT_STEP = (
    "INSERT INTO steps (run_id, step_id, state, attempt, temporal_run_id, scheduled_at_us,"
    " task_token, worker_id, opened_at, model, input_rate, output_rate, input_estimate,"
    " output_estimate, abandoned, granted)"
    " VALUES (:run_id, :step_id, 'open', :attempt, :temporal_run_id, :scheduled_at_us, :token,"
    " :worker_id, :now, :model, :input_rate, :output_rate, :input_estimate, :output_estimate,"
    " :abandoned, :granted)"
    " ON CONFLICT (run_id, step_id) DO UPDATE SET"
    " state = 'open', attempt = excluded.attempt, temporal_run_id = excluded.temporal_run_id,"
    " scheduled_at_us = excluded.scheduled_at_us, task_token = excluded.task_token,"
    " worker_id = excluded.worker_id, opened_at = excluded.opened_at,"
    " input_estimate = excluded.input_estimate, output_estimate = excluded.output_estimate,"
    " input_rate = excluded.input_rate, output_rate = excluded.output_rate,"
    " abandoned = excluded.abandoned, granted = excluded.granted,"
    " furthest_chars = CASE WHEN steps.streamed_chars > steps.furthest_chars"
    " THEN steps.streamed_chars ELSE steps.furthest_chars END,"
    " streamed_chars = 0, has_deltas = false"
)


def open_step(
    tx: Tx,
    who: Execution,
    now: int,
    plan: CallPlan | None = None,
    wanted: bool = False,
    rules: SpendingRules = NO_RULES,
) -> Opening:
    """Open a step for one attempt, or say why that attempt is not needed.

    `plan` names the model about to be called, None for other steps. `wanted` says that Temporal
    waits for this very attempt, so that an older scheduled time means that a clock stepped back.

    Raises:
        StepRefusedError: the run has ended or its cancel was asked, a newer execution took over,
            the step is poison, or the run's money cap does not cover the call.
    """
    is_tool = who.step_id.startswith("tool-")
    # The transcript may grow here: by a call that the policy blocks, by what steers the run.
    run = _lock(tx, who.run_id, is_model=plan is not None)
    check_open(run)
    note_execution(tx, who.run_id, who.temporal_run_id)
    step = read_step(tx, who.run_id, who.step_id)
    if step is not None:
        if step["state"] == StepState.OPEN and bytes(step["task_token"]) == who.token:
            return _opened_before(tx, run, step, who, plan)
        answer = _answer_from(tx, run, step, who, wanted, now)
        if answer is not None:
            return answer
    if is_tool:
        held = _pass(tx, run, step, who, now)
        if held is not None:
            return held
        run = lock_run(tx, who.run_id)  # the gate has written to it
    if plan is not None and models.is_bounded(tx, run, plan, now):
        return _open_model(tx, run, step, who, now, Asked(plan, rules))
    return _open_other(tx, run, step, who, plan, now)


def _pass(tx: Tx, run: Row, step: Row | None, who: Execution, now: int) -> Opening | None:
    """Ask the policy, then the client that runs the tool, about a call that is not under way."""
    if step is not None:
        return pass_again(tx, run, who, now) if step["state"] == StepState.IDLE else None
    held = requests.look_again(tx, run, who, now) or pass_gate(tx, run, who, now)
    if held is not None:
        return held
    return requests.ask(tx, lock_run(tx, who.run_id), who, now)


def _lock(tx: Tx, run_id: str, *, is_model: bool) -> Row:
    """Lock a run; for a model's call those above it too, because it spends of what they leave."""
    if is_model and tx.lock:
        above = tx.one("SELECT parent_run_id FROM runs WHERE run_id = :id", id=run_id)
        if above is not None and above["parent_run_id"] is not None:
            return lock_line(tx, run_id)[-1]
    return lock_session_and_run(tx, run_id)


def _answer_from(
    tx: Tx, run: Row, step: Row, who: Execution, wanted: bool, now: int
) -> Opening | None:
    """Return what the step's row already settles; None when a new attempt is due."""
    if step["state"] == StepState.CLOSED:
        toolcalls.mark_woken(tx, who, now)
        return AlreadyClosed(json.loads(step["result"]))
    if step["state"] == StepState.UNKNOWN:
        return OutcomeUnknown(toolcalls.call_of_step(tx, who.run_id, who.step_id)["tool_call_id"])
    same_execution = step["temporal_run_id"] == who.temporal_run_id
    if same_execution and not wanted and who.scheduled_at_us < step["scheduled_at_us"]:
        return Older(step["attempt"])
    if step["state"] == StepState.OPEN:
        return _after_silence(tx, run, step, who, now)
    if who.step_id.startswith("tool-"):
        return spawning.look(tx, run, who.step_id, now)
    return None


def _after_silence(tx: Tx, run: Row, step: Row, who: Execution, now: int) -> Opening | None:
    """Decide about a step whose last attempt never reported."""
    if who.step_id.startswith("tool-"):
        call = toolcalls.call_of_step(tx, who.run_id, who.step_id)
        if call["effect"] == Effect.UNSAFE:
            reason = "the worker that ran this tool was lost before it reported"
            toolcalls.set_unknown(tx, run, call, reason, now)
            return OutcomeUnknown(call["tool_call_id"])
    if _abandoned(step) >= POISON_OPENINGS:
        raise StepRefusedError(
            f"step {who.step_id} of run {who.run_id} was opened {POISON_OPENINGS} times without an"
            " outcome: it seems to kill its worker; start a new run with another input",
            reason="poison_step",
        )
    return None


def _abandoned(step: Row | None) -> int:
    """Return how many openings in a row ended in silence without getting further."""
    if step is None or step["state"] != StepState.OPEN:
        return 0
    got_further = step["streamed_chars"] > step["furthest_chars"]
    return 0 if got_further else int(step["abandoned"]) + 1


def _open_model(
    tx: Tx,
    run: Row,
    step: Row | None,
    who: Execution,
    now: int,
    asked: Asked,
) -> Opening:
    """Open the call of a model: only when caps, budgets, its circuit and its rates let it."""
    if step is not None and step["state"] == StepState.OPEN:
        run = models.end_dead(tx, run, step, now)
    place_unseen(tx, run)
    messages = transcript.read_short_transcript(tx, run)
    rejected = _rejected(tx, who, asked.plan)
    asked = replace(asked, more_tokens=size_of(rejected))
    run, found = models.admit(tx, run, who, asked, messages, now)
    if not isinstance(found, Grant):
        if isinstance(found, Withheld) and found.code in models.WAITS:
            drafts = [*first_events(run), *patience.begin(tx, run, who.step_id, asked.plan, found)]
            _write_opening(tx, run, drafts, now)
        return found
    plan = models.priced(asked.plan, found)
    attempt = _put(tx, step, who, now, plan, found)
    models.hold(tx, run, who, attempt, plan, found)
    _write_opening(tx, run, _opening_events(tx, run, step, who, attempt, plan), now)
    opened = _opened(tx, run, step, who, attempt, messages)
    return replace(
        opened,
        bound=found.bound,
        cut_by=found.cut_by,
        price=found.price,
        rejected=rejected,
    )


def _rejected(tx: Tx, who: Execution, plan: CallPlan) -> tuple[str, str] | None:
    """Return the answer of a lower tier that was too weak, and why."""
    if plan.escalated_from is None:
        return None
    weak = read_step(tx, who.run_id, plan.escalated_from)
    result = json.loads(weak["result"]) if weak is not None and weak["result"] else {}
    return (result["answer"], result["weak"]) if result.get("weak") else None


def _open_other(
    tx: Tx, run: Row, step: Row | None, who: Execution, plan: CallPlan | None, now: int
) -> Opened:
    """Open a step that holds nothing: no model is asked, or an agent whose price nobody knows."""
    is_tool = who.step_id.startswith("tool-")
    if step is not None and step["state"] == StepState.OPEN:
        run = models.end_dead(tx, run, step, now)
    if not is_tool:
        run = patience.end(tx, run, who.step_id, now)
        place_unseen(tx, run)
    attempt = _put(tx, step, who, now, plan, None)
    drafts = _opening_events(tx, run, step, who, attempt, None)
    if is_tool:
        drafts += toolcalls.dispatch(tx, who, attempt, now)
    _write_opening(tx, run, drafts, now)
    return _opened(tx, run, step, who, attempt, None)


def _put(
    tx: Tx, step: Row | None, who: Execution, now: int, plan: CallPlan | None, found: Grant | None
) -> int:
    """Write the step's row for a new attempt and return its number."""
    attempt = step["attempt"] + 1 if step else 1
    bound = found.bound if found else NOTHING_BOUND
    tx.run(
        _PUT_STEP,
        run_id=who.run_id,
        step_id=who.step_id,
        attempt=attempt,
        temporal_run_id=who.temporal_run_id,
        scheduled_at_us=who.scheduled_at_us,
        token=who.token,
        worker_id=who.worker_id,
        now=now,
        model=plan.model if plan else None,
        input_rate=plan.input_rate if plan else None,
        output_rate=plan.output_rate if plan else None,
        input_estimate=bound.input_tokens,
        output_estimate=bound.output_tokens,
        abandoned=_abandoned(step),
        granted=granting.dump(found) if found else None,
    )
    return attempt


def _write_opening(tx: Tx, run: Row, drafts: list[EventDraft], now: int) -> None:
    tx.run(
        "UPDATE runs SET last_seq = :last, state = 'RUNNING',"
        " started_at = coalesce(started_at, :now) WHERE run_id = :id",
        last=append(tx, run, drafts, now, run["last_seq"]),
        now=now,
        id=run["run_id"],
    )


def _opened_before(tx: Tx, run: Row, step: Row, who: Execution, plan: CallPlan | None) -> Opened:
    """Return again what an opening gave whose reply was lost."""
    if step["model"] is None or plan is None:
        return _opened(tx, run, step, who, step["attempt"], None)
    messages = transcript.read_short_transcript(tx, run)
    rates = Rates(step["input_rate"], step["output_rate"])
    tokens = step["input_estimate"], step["output_estimate"]
    cut_by, price = granting.load(step["granted"])
    return replace(
        _opened(tx, run, step, who, step["attempt"], messages),
        bound=CallBound(*tokens, rates.cost(*tokens)),
        cut_by=cut_by,
        price=price,
        rejected=_rejected(tx, who, plan),
    )


def _voids_text(tx: Tx, step: Row | None, who: Execution, plan: CallPlan | None) -> bool:
    """Whether viewers have seen text that this attempt replaces: its own, or a failed model's."""
    if step is not None:
        return bool(step["has_deltas"])
    if plan is None or plan.fallback_step is None:
        return False
    failed = read_step(tx, who.run_id, plan.fallback_step)
    return failed is not None and bool(failed["has_deltas"])


def _opening_events(
    tx: Tx, run: Row, step: Row | None, who: Execution, attempt: int, plan: CallPlan | None
) -> list[EventDraft]:
    drafts = first_events(run)
    is_agents = who.step_id.startswith("invoke-")
    if plan is None and not is_agents:
        return drafts
    key = f"{who.step_id}:{attempt}"
    first = (run["forked_turn"] or 0) + 1
    if step is None and who.step_id.startswith((f"llm-{first}-", invoke_step(first))):
        data = {"agent_id": run["agent_id"]}
        drafts.append(
            EventDraft(type=EventType.AGENT_INVOKE_STARTED, key="invoke_started", data=data)
        )
    if plan is not None and plan.fallback_from is not None and attempt == 1:
        data = {"from": plan.fallback_from, "to": plan.model, "reason": plan.fallback_reason}
        drafts.append(EventDraft(type=EventType.MODEL_FALLBACK, key=f"{key}:fallback", data=data))
    if _voids_text(tx, step, who, plan):
        data = {"step": who.step_id, "attempt": attempt}
        drafts.append(EventDraft(type=EventType.AGENT_STREAM_RESET, key=f"{key}:reset", data=data))
    if plan is not None and not is_agents:
        data = {"step": who.step_id, "attempt": attempt, "model": plan.model}
        drafts.append(EventDraft(type=EventType.LLM_CALL_STARTED, key=f"{key}:start", data=data))
    return drafts


def _opened(
    tx: Tx,
    run: Row,
    step: Row | None,
    who: Execution,
    attempt: int,
    messages: tuple[ChatMessage, ...] | None,
) -> Opened:
    call = None
    if who.step_id.startswith("tool-"):
        call = toolcalls.call_of_step(tx, who.run_id, who.step_id)
    return Opened(
        attempt=attempt,
        spec=RunSpec.model_validate_json(run["spec"]),
        owner=run["owner"],
        session_id=run["session_id"],
        agent_id=run["agent_id"],
        usage=usage_from(run),
        messages=messages,
        content=content_for(tx, run, who.step_id),
        args=call["args"] if call else "{}",
        tool_call_id=call["tool_call_id"] if call else None,
        idempotency_key=call["idempotency_key"] if call else "",
        failures=step["failures"] if step else 0,
    )
