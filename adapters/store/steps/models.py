"""What opening a model's call takes more than any other step: a bound, money, an open circuit."""

from dataclasses import dataclass, replace

from adapters.store.approvals.gate import first_events
from adapters.store.children.family import Cap
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.sessions import transcript
from adapters.store.spending import asking, granting, health, holds, rates
from adapters.store.spending.granting import Grant, Lacking
from adapters.store.spending.holds import caller_of
from adapters.store.spending.payers import payer_of
from adapters.store.steps import billing, patience
from domain.agent import is_agent_model
from domain.approval import ApprovalStatus
from domain.bounds import bytes_of, fixed_bytes
from domain.budget import OnExhausted
from domain.chat import ChatMessage
from domain.event import EventDraft
from domain.money import to_usd
from domain.run import RunSpec
from domain.spending import SpendingRules
from domain.step import AwaitingBudget, CallPlan, Execution, Withheld

Held = AwaitingBudget | Withheld
"""Why a call is not made now."""


WAITS = frozenset({"circuit_open", "model_rate_limited", "budget_busy"})
"""Codes of calls that are only put off; nothing is on record of them yet."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which model is about to be called, and what the operator says of models."""

    plan: CallPlan
    rules: SpendingRules
    more_tokens: int = 0
    """What the request holds besides the run's own texts."""


def is_bounded(tx: Tx, run: Row, plan: CallPlan, now: int) -> bool:
    """Whether caps and budgets bound a call before it is made: not an agent's of unknown price.

    Raises:
        StepRefusedError: `price_unknown`: a cap in money counts, and nothing is known to hold.
    """
    if not is_agent_model(plan.model):
        return True
    price = granting.price_of(tx, plan.model)
    if price is not None or plan.input_rate is not None:
        return True
    granting.refuse_unpriced(tx, run, plan.model, now)
    return False


def end_dead(tx: Tx, run: Row, step: Row, now: int) -> Row:
    """Bill an attempt that died with its worker and return the run as it is then."""
    last = billing.bill_dead_attempt(tx, run, step, now, run["last_seq"])
    tx.run(
        "UPDATE steps SET state = 'idle' WHERE run_id = :run AND step_id = :step",
        run=run["run_id"],
        step=step["step_id"],
    )
    return _write(tx, run, last)


def _write(tx: Tx, run: Row, last: int) -> Row:
    row = tx.one(
        "UPDATE runs SET last_seq = :last WHERE run_id = :id RETURNING *",
        last=last,
        id=run["run_id"],
    )
    assert row is not None
    return row


def admit(
    tx: Tx,
    run: Row,
    who: Execution,
    asked: Asked,
    messages: tuple[ChatMessage, ...] | None,
    now: int,
) -> tuple[Row, Grant | Held]:
    """Say whether a call may be made and how large it may get; return the run as it is then.

    Raises:
        StepRefusedError: `max_cost_usd`, `max_tokens` or `price_unknown`.
    """
    plan, rules, caller = asked.plan, asked.rules, caller_of(who.run_id, who.step_id)
    withheld = health.check(tx, plan.model, caller, rules.breaker, now, waits=not plan.has_next)
    if withheld is not None:
        return run, withheld
    spec = RunSpec.model_validate_json(run["spec"])
    tokens = fixed_bytes(spec) + _said(tx, run, messages) + asked.more_tokens
    found = granting.grant(tx, run, spec, plan, tokens, now)
    if isinstance(found, Cap):
        health.free_probe(tx, plan.model, caller)
        said = f"other calls hold the rest of the cap {found.name} of run {found.run_id} for now"
        run = patience.end(tx, run, who.step_id, now)
        return run, Withheld("budget_busy", said)
    question = None
    if isinstance(found, Lacking) or run["waiting_on"] == "budget":
        question = asking.last_question(tx, run["run_id"], who.step_id)
    if isinstance(found, Lacking):
        health.free_probe(tx, plan.model, caller)
        run = patience.end(tx, run, who.step_id, now)
        return run, _without_budget(tx, run, who, found, question, now)
    run = _answered(tx, run, question, now)
    size = found.bound.input_tokens + found.bound.output_tokens
    # One that may go to another model keeps no place: nobody waits for it to come back.
    waiter = None if plan.has_next else caller
    withheld = rates.take(tx, plan.model, size, rules.per_minute, now, waiter)
    if withheld is not None:
        health.free_probe(tx, plan.model, caller)
        return run, withheld
    return patience.end(tx, run, who.step_id, now), found


def _said(tx: Tx, run: Row, messages: tuple[ChatMessage, ...] | None) -> int:
    if messages is not None:
        return bytes_of(messages)
    return transcript.bytes_of_session(tx, run["owner"], run["session_id"])


def _answered(tx: Tx, run: Row, question: Row | None, now: int) -> Row:
    """Note that the run goes on after a question about a budget."""
    if question is None:
        return run
    drafts: list[EventDraft] = []
    if question["status"] == ApprovalStatus.PENDING:
        drafts = asking.settle_unneeded(tx, run, question, now)
    asking.mark_delivered(tx, question, now)
    return _write(tx, run, append(tx, run, drafts, now, run["last_seq"]))


def _without_budget(
    tx: Tx, run: Row, who: Execution, found: Lacking, question: Row | None, now: int
) -> Held:
    """Do what the budget says about a call that it does not cover."""
    budget, action = found.budget, _action(run, found)
    if question is not None:
        is_pending = question["status"] == ApprovalStatus.PENDING
        is_same = question["budget_id"] == budget["budget_id"] and action is OnExhausted.ASK
        if is_pending and is_same:
            return asking.look_again(tx, question, budget, now)
        run = _answered(tx, run, question, now)
        if question["status"] == ApprovalStatus.REJECTED:
            return Withheld("budget_exhausted", _sentence(found, "and nobody raised it"))
    if found.is_busy and action is not OnExhausted.DEGRADE:
        return Withheld("budget_busy", _sentence(found, "while other calls are under way"))
    if action is OnExhausted.ASK:
        return asking.ask(tx, run, who.step_id, found, first_events(run), now)
    drafts = [*first_events(run), asking.exhausted(who.step_id, budget, found.needed)]
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run(
        "UPDATE runs SET last_seq = :last, state = 'RUNNING',"
        " started_at = coalesce(started_at, :now) WHERE run_id = :id",
        last=last,
        now=now,
        id=run["run_id"],
    )
    code = "budget_degraded" if action is OnExhausted.DEGRADE else "budget_exhausted"
    return Withheld(code, _sentence(found))


def _action(run: Row, found: Lacking) -> OnExhausted:
    """Return what a budget does; what is another owner's, nobody of this run can raise."""
    action = OnExhausted(found.budget["on_exhausted"])
    is_ours = found.budget["owner"] == run["owner"]
    return OnExhausted.STOP if action is OnExhausted.ASK and not is_ours else action


def _sentence(found: Lacking, more: str = "") -> str:
    budget = found.budget
    said = (
        f"budget {budget['budget_id']} of {to_usd(budget['limit_pico'])} USD does not cover the"
        f" next call, which may cost {to_usd(found.needed)}"
    )
    return f"{said}, {more}" if more else said


def hold(tx: Tx, run: Row, who: Execution, attempt: int, plan: CallPlan, grant: Grant) -> None:
    """Hold the bound of a call that is being opened, of its run and of the budgets."""
    bound = grant.bound
    tx.run(
        "UPDATE runs SET reserved_pico = reserved_pico + :pico,"
        " reserved_tokens = reserved_tokens + :tokens WHERE run_id = :id",
        pico=bound.pico or 0,
        tokens=bound.input_tokens + bound.output_tokens,
        id=run["run_id"],
    )
    if not bound.pico:
        return
    call = holds.HeldCall(
        holds.hold_of_step(run["run_id"], who.step_id, attempt),
        plan.model,
        who.step_id,
        attempt,
        opened_at=who.scheduled_at_us // 1000,
    )
    holds.put(tx, payer_of(run), call, bound, grant.budgets)


def priced(plan: CallPlan, grant: Grant) -> CallPlan:
    """Return the plan with the rates by which the call is held."""
    return replace(plan, input_rate=grant.rates.input, output_rate=grant.rates.output)
