"""The ledger of model calls: every attempt that reached a provider has one row and one event."""

from collections.abc import Sequence

from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from domain.chat import ChatMessage, TokenUsage
from domain.event import EventDraft, EventType
from domain.money import to_pico, to_usd
from domain.session import estimate_tokens
from domain.step import CallBill

_INSERT = (
    "INSERT INTO usage (run_id, step_id, attempt, owner, agent_id, session_id, model, input_tokens,"
    " output_tokens, cached_tokens, cost_pico, estimated, latency_ms, error_code, created_at)"
    " VALUES (:run_id, :step_id, :attempt, :owner, :agent_id, :session_id, :model, :input,"
    " :output, :cached, :cost, :estimated, :latency, :error, :now)"
    " ON CONFLICT (run_id, step_id, attempt) DO NOTHING"
)
_ADD = (
    "UPDATE runs SET input_tokens = input_tokens + :input, output_tokens = output_tokens + :output,"
    " cached_tokens = cached_tokens + :cached, cost_pico = cost_pico + :cost,"
    " unpriced_calls = unpriced_calls + :unpriced, model_calls = model_calls + 1 WHERE run_id = :id"
)


def estimate_input(run: Row, messages: Sequence[ChatMessage] | None) -> int:
    """Return a rough count of the tokens an attempt sends, for the case that it dies."""
    known = sum(estimate_tokens(message.content) for message in messages or ())
    return known + len(run["spec"]) // 8


def cap_reached(run: Row, max_cost_usd: str, next_pico: int) -> bool:
    """Whether the run has spent its own money cap, or would with the input of the next call."""
    spent, cap = run["cost_pico"], to_pico(max_cost_usd)
    return bool(spent >= cap or spent + next_pico > cap)


def add_bill(tx: Tx, run: Row, step_id: str, attempt: int, bill: CallBill, now: int) -> None:
    """Enter one attempt into the ledger and the run's totals; a second entry changes nothing."""
    usage = bill.usage
    entered = tx.run(
        _INSERT,
        run_id=run["run_id"],
        step_id=step_id,
        attempt=attempt,
        owner=run["owner"],
        agent_id=run["agent_id"],
        session_id=run["session_id"],
        model=bill.model,
        input=usage.input_tokens,
        output=usage.output_tokens,
        cached=usage.cached_tokens,
        cost=bill.cost_pico,
        estimated=bill.estimated,
        latency=bill.latency_ms,
        error=bill.error["code"] if bill.error else None,
        now=now,
    )
    if entered:
        tx.run(
            _ADD,
            id=run["run_id"],
            input=usage.input_tokens,
            output=usage.output_tokens,
            cached=usage.cached_tokens,
            cost=bill.cost_pico or 0,
            unpriced=1 if bill.cost_pico is None else 0,
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


def estimated_bill(step: Row, now: int, error: dict[str, str]) -> CallBill:
    """Return the bill of an attempt that ended before its usage was known.

    What it streamed is known, what it sent is estimated; the rates are those of its opening.
    """
    usage = TokenUsage(
        input_tokens=step["input_estimate"], output_tokens=(step["streamed_chars"] + 3) // 4
    )
    cost = None
    if step["input_rate"] is not None and step["output_rate"] is not None:
        cost = usage.input_tokens * step["input_rate"] + usage.output_tokens * step["output_rate"]
    return CallBill(
        model=step["model"],
        usage=usage,
        cost_pico=cost,
        estimated=True,
        latency_ms=max(0, now - step["opened_at"]),
        error=error,
    )


def bill_dead_attempt(tx: Tx, run: Row, step: Row, now: int, last: int) -> int:
    """Enter an attempt that died before it reported; return the run's last `seq`."""
    if step["model"] is None:
        return last
    error = {"code": "worker_lost", "message": "the attempt ended without reporting its usage"}
    bill = estimated_bill(step, now, error)
    add_bill(tx, run, step["step_id"], step["attempt"], bill, now)
    draft = bill_event(step["step_id"], step["attempt"], bill)
    return append(tx, run, [draft], now, last)
