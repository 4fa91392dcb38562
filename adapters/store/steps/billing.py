"""The ledger of model calls: every attempt that reached a provider has one row and one event.

Entering it turns what was held for the attempt into what it cost.
"""

from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.spending import holds
from adapters.store.spending.payers import budgets_of, payer_of
from domain.bounds import CallBound, Rates, likely_usage, padding_of
from domain.event import EventDraft, EventType
from domain.money import to_usd
from domain.run import RunSpec
from domain.step import CallBill

_INSERT = (
    "INSERT INTO usage (run_id, step_id, attempt, owner, agent_id, session_id, root_run_id,"
    " goal_id, key_id, model, input_tokens, output_tokens, cached_tokens, cost_pico, estimated,"
    " latency_ms, error_code, created_at) VALUES (:run_id, :step_id, :attempt, :owner, :agent_id,"
    " :session_id, :root_run_id, :goal_id, :key_id, :model, :input, :output, :cached, :cost,"
    " :estimated, :latency, :error, :now) ON CONFLICT (run_id, step_id, attempt) DO NOTHING"
)
_ADD = (
    "UPDATE runs SET input_tokens = input_tokens + :input, output_tokens = output_tokens + :output,"
    " cached_tokens = cached_tokens + :cached, cost_pico = cost_pico + :cost,"
    " unpriced_calls = unpriced_calls + :unpriced, model_calls = model_calls + 1,"
    " reserved_pico = reserved_pico - :held, reserved_tokens = reserved_tokens - :held_tokens"
    " WHERE run_id = :id"
)


def held_of(step: Row) -> tuple[int, int]:
    """Return the picodollars and tokens that an open attempt holds."""
    if step["model"] is None:
        return 0, 0
    rates = Rates(step["input_rate"], step["output_rate"])
    tokens = step["input_estimate"], step["output_estimate"]
    return rates.cost(*tokens) or 0, sum(tokens)


def bill_attempt(tx: Tx, run: Row, step: Row, bill: CallBill, now: int) -> list[EventDraft]:
    """Enter an attempt into the ledger, the run's totals and the budgets; return its events.

    A second entry changes nothing.
    """
    step_id, attempt = step["step_id"], step["attempt"]
    event = bill_event(step_id, attempt, bill)
    if not enter(tx, run, (run["run_id"], step_id, attempt), bill, now):
        return [event]
    held, held_tokens = held_of(step)
    add_to_run(tx, run["run_id"], bill, held, held_tokens)
    cost = bill.cost_pico or 0
    # Budgets before holds, here and where a budget is made: nobody waits in a circle.
    budgets = budgets_of(tx, payer_of(run), now) if held or cost else []
    hold = holds.take(tx, holds.hold_of_step(run["run_id"], step_id, attempt)) if held else None
    return [event, *holds.settle(tx, budgets, hold, cost)]


def enter(tx: Tx, payer: Row, key: tuple[str, str, int], bill: CallBill, now: int) -> bool:
    """Write a row of the ledger; False when it is there already.

    `payer` is a row with who and what the call was made for: a run, or what was held for a call.
    """
    run_id, step_id, attempt = key
    usage = bill.usage
    named = ("owner", "agent_id", "session_id", "root_run_id", "goal_id", "key_id")
    return bool(
        tx.run(
            _INSERT,
            run_id=run_id,
            step_id=step_id,
            attempt=attempt,
            model=bill.model,
            input=usage.input_tokens,
            output=usage.output_tokens,
            cached=usage.cached_tokens,
            cost=bill.cost_pico,
            estimated=bill.estimated,
            latency=bill.latency_ms,
            error=bill.error["code"] if bill.error else None,
            now=now,
            **{name: payer[name] for name in named},
        )
    )


def add_to_run(tx: Tx, run_id: str, bill: CallBill, held: int, held_tokens: int) -> None:
    """Add a call to the totals of its run, and free what the run held for it."""
    usage = bill.usage
    tx.run(
        _ADD,
        id=run_id,
        input=usage.input_tokens,
        output=usage.output_tokens,
        cached=usage.cached_tokens,
        cost=bill.cost_pico or 0,
        unpriced=1 if bill.cost_pico is None else 0,
        held=held,
        held_tokens=held_tokens,
    )


def bill_event(step_id: str, attempt: int, bill: CallBill) -> EventDraft:
    """Return the `llm_call_done` of one attempt."""
    usage = bill.usage
    data = {
        "step": step_id,
        "attempt": attempt,
        "model": bill.model,
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "cost_usd": None if bill.cost_pico is None else to_usd(bill.cost_pico),
        "estimated": bill.estimated,
        "latency_ms": bill.latency_ms,
        "stop_reason": bill.stop_reason,
        "error": bill.error,
    }
    return EventDraft(type=EventType.LLM_CALL_DONE, key=f"{step_id}:{attempt}:done", data=data)


def estimated_bill(
    run: Row, step: Row, now: int, error: dict[str, str], unseen: int = 0
) -> CallBill:
    """Return the bill of an attempt that was cut before its usage was known.

    Its cost is all that was held, its tokens what came: a cap on tokens that one crash uses up
    would end the run that it is to bring through. `unseen` are bytes that came besides the text.
    """
    spec = RunSpec.model_validate_json(run["spec"])
    said, most = step["input_estimate"], step["output_estimate"]
    bound = CallBound(said, most, Rates(step["input_rate"], step["output_rate"]).cost(said, most))
    return CallBill(
        model=step["model"],
        usage=likely_usage(bound, step["streamed_chars"] + unseen, padding_of(spec)),
        cost_pico=bound.pico,
        estimated=True,
        latency_ms=max(0, now - step["opened_at"]),
        error=error,
    )


def bill_dead_attempt(tx: Tx, run: Row, step: Row, now: int, last: int) -> int:
    """Enter an attempt that died before it reported; return the run's last `seq`."""
    if step["model"] is None:
        return last
    error = {"code": "worker_lost", "message": "the attempt ended without reporting its usage"}
    drafts = bill_attempt(tx, run, step, estimated_bill(run, step, now, error), now)
    return append(tx, run, drafts, now, last)
