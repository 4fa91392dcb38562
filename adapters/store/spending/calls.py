"""Model calls that are no steps: held before the provider is asked, billed after.

What is held for one is also its record: a call that nobody closes is billed at it once its time is
over, or with the end of the run that it is tied to.
"""

from collections.abc import Sequence
from typing import Any

from adapters.store.children.family import caps_over, lock_line
from adapters.store.database.tx import Row, Tx
from adapters.store.log.appender import append
from adapters.store.spending import granting, health, holds, rates
from adapters.store.spending.granting import Grant, Lacking
from adapters.store.spending.payers import Payer, budgets_of, payer_of
from adapters.store.steps import billing
from adapters.store.steps.fence import lock_run
from domain.bounds import CallBound, Rates, likely_usage
from domain.budget import OnExhausted
from domain.errors import (
    BudgetExhaustedError,
    CircuitOpenError,
    ModelRateLimitedError,
    NotFoundError,
    PriceUnknownError,
    RunTerminalError,
    StepRefusedError,
)
from domain.event import EventDraft, EventType
from domain.money import to_usd
from domain.run import TERMINAL, RunSpec
from domain.spending import NewCall, OpenedCall, SpendingRules
from domain.step import CallBill, Withheld, milliseconds

_LOST = {"code": "call_lost", "message": "the call ended without reporting its usage"}
_STEP = "call"
"""The step id of a call that belongs to no run."""


def open_call(tx: Tx, call: NewCall, rules: SpendingRules, now: int) -> OpenedCall:
    """Hold what a call may cost at most.

    Raises:
        BudgetExhaustedError, PriceUnknownError, CircuitOpenError, ModelRateLimitedError,
        NotFoundError, RunTerminalError: as the port says; nothing was kept.
    """
    run = _lock_run(tx, call) if call.run_id is not None else None
    withheld = health.check(tx, call.model, call.call_id, rules.breaker, now)
    if withheld is not None:
        raise _refusal(withheld)
    price = granting.price_of(tx, call.model)
    bound = _bound(call, price.rates if price else None)
    payer = _payer(call, run)
    try:
        if run is not None:
            _check_caps(tx, run, call, bound)
        budgets = _budgets(tx, payer, call, bound, now)
    except StepRefusedError as error:
        raise _named(error) from error
    # After the budgets, as for steps: nobody waits for another in a circle.
    tokens = call.input_tokens + call.output_tokens
    withheld = rates.take(tx, call.model, tokens, rules.per_minute, now)
    if withheld is not None:
        raise _refusal(withheld)
    until = now + int(call.max_seconds * 1000)
    held = holds.HeldCall(call.call_id, call.model, opened_at=now, expires_at=until)
    holds.put(tx, payer, held, bound, budgets)
    if run is not None:
        _note_opening(tx, run, call, bound, now)
    return OpenedCall(price)


def _bound(call: NewCall, own: Rates | None) -> CallBound:
    pico = call.pico if own is None else own.cost(call.input_tokens, call.output_tokens)
    return CallBound(call.input_tokens, call.output_tokens, pico)


def _payer(call: NewCall, run: Row | None) -> Payer:
    return Payer(owner=call.owner, key_id=call.key_id) if run is None else payer_of(run)


def _lock_run(tx: Tx, call: NewCall) -> Row:
    assert call.run_id is not None
    plain = tx.one(
        "SELECT parent_run_id FROM runs WHERE run_id = :id AND owner = :owner",
        id=call.run_id,
        owner=call.owner,
    )
    if plain is None:
        raise NotFoundError(f"there is no run {call.run_id}")
    run = lock_line(tx, call.run_id)[-1] if plain["parent_run_id"] else lock_run(tx, call.run_id)
    if run["state"] in TERMINAL or run["cancel_asked_at"] is not None:
        raise RunTerminalError(f"run {call.run_id} is {run['state']} or ends; no call is made")
    return run


def _check_caps(tx: Tx, run: Row, call: NewCall, bound: CallBound) -> None:
    """Refuse a call that the caps of its run, or of those above, do not cover."""
    for cap in caps_over(tx, run, RunSpec.model_validate_json(run["spec"])):
        needed = bound.pico if cap.name == "max_cost_usd" else call.output_tokens
        if needed is None:
            raise granting.unpriced_under(cap, call.model)
        if cap.left < needed:
            said = f"the cap {cap.name} of run {cap.run_id} leaves {cap.amount(cap.left)}"
            then = " or try again: other calls hold some of it" if cap.held else ""
            raise StepRefusedError(f"{said}; ask for fewer max_tokens{then}", reason=cap.name)


def _budgets(tx: Tx, payer: Payer, call: NewCall, bound: CallBound, now: int) -> Sequence[Any]:
    """Return the budgets that hold a call; its `max_tokens` is the caller's, so it is not cut."""
    if bound.pico == 0:
        return ()
    rate = None if bound.pico is None else bound.pico
    # As one unit of output: what is held is all or nothing.
    wish = Grant(CallBound(0, 1, rate), Rates(rate and 0, rate), None, None, ())
    found = granting.within(tx, payer, call.model, wish, now)
    if isinstance(found, Lacking):
        left = found.budget["limit_pico"] - found.budget["spent_pico"]
        left -= found.budget["reserved_pico"]
        error = BudgetExhaustedError(
            f"budget {found.budget['budget_id']} leaves {to_usd(max(0, left))} USD and this call"
            f" may cost {to_usd(found.needed)}; ask for fewer max_tokens, or raise the budget"
        )
        error.degrades = OnExhausted(found.budget["on_exhausted"]) is OnExhausted.DEGRADE
        raise error
    return found.budgets


def _named(error: StepRefusedError) -> Exception:
    if error.reason == "price_unknown":
        return PriceUnknownError(error.message)
    return BudgetExhaustedError(error.message)


def _refusal(withheld: Withheld) -> Exception:
    kind = CircuitOpenError if withheld.code == "circuit_open" else ModelRateLimitedError
    return kind(withheld.message, retry_after=milliseconds(withheld.wait_ms))


def _note_opening(tx: Tx, run: Row, call: NewCall, bound: CallBound, now: int) -> None:
    drafts = []
    if call.route is not None:
        key = f"{call.call_id}:route"
        drafts.append(EventDraft(type=EventType.ROUTE_DECIDED, key=key, data=call.route))
    data = {"step": call.call_id, "attempt": 1, "model": call.model}
    key = f"{call.call_id}:1:start"
    drafts.append(EventDraft(type=EventType.LLM_CALL_STARTED, key=key, data=data))
    last = append(tx, run, drafts, now, run["last_seq"])
    tx.run(
        "UPDATE runs SET last_seq = :last, reserved_pico = reserved_pico + :pico,"
        " reserved_tokens = reserved_tokens + :tokens WHERE run_id = :id",
        last=last,
        pico=bound.pico or 0,
        tokens=bound.input_tokens + bound.output_tokens,
        id=run["run_id"],
    )


def close_call(tx: Tx, call_id: str, bill: CallBill, rules: SpendingRules, now: int) -> None:
    """Enter what a call used and free what was held for it; again changes nothing."""
    held = tx.one("SELECT * FROM holds WHERE hold_id = :id", id=call_id)
    if held is None or not _settle(tx, held, bill, now):
        return
    if not bill.estimated and bill.error is None:
        unused = held["input_tokens"] + held["output_tokens"] - bill.tokens
        rates.give_back(tx, bill.model, unused, rules.per_minute, now)
    if bill.error is None:
        health.note_success(tx, bill.model, now)
    else:
        health.note_failure(tx, call_id, bill, rules.breaker, now)


def _settle(tx: Tx, plain: Row, bill: CallBill, now: int) -> bool:
    """End what is held for a call with its bill; False when somebody did meanwhile."""
    run = lock_run(tx, plain["run_id"]) if plain["run_id"] else None
    drafts = _bill(tx, run, plain, bill, now)
    if run is not None and drafts:
        last = append(tx, run, drafts, now, run["last_seq"])
        tx.run("UPDATE runs SET last_seq = :last WHERE run_id = :id", last=last, id=run["run_id"])
    return drafts is not None


def _bill(tx: Tx, run: Row | None, plain: Row, bill: CallBill, now: int) -> list[EventDraft] | None:
    """Take what is held and enter what was used; None when it is gone already."""
    payer = payer_of(run) if run is not None else _payer_of_hold(plain)
    cost = bill.cost_pico or 0
    # Budgets before holds, here and where a budget is made: nobody waits in a circle.
    budgets = budgets_of(tx, payer, now) if plain["pico"] or cost else []
    held = holds.take(tx, plain["hold_id"])
    if held is None:
        return None
    call_id = held["hold_id"]
    key = (held["run_id"], call_id, 1) if run is not None else (call_id, _STEP, 1)
    if not billing.enter(tx, held, key, bill, now):
        return []
    if run is not None:
        tokens = held["input_tokens"] + held["output_tokens"]
        billing.add_to_run(tx, run["run_id"], bill, held["pico"] or 0, tokens)
    warnings = holds.settle(tx, budgets, held, cost)
    return [billing.bill_event(call_id, 1, bill), *warnings]


def _payer_of_hold(held: Row) -> Payer:
    return Payer(owner=held["owner"], key_id=held["key_id"])


def _lost_bill(held: Row, now: int) -> CallBill:
    bound = CallBound(held["input_tokens"], held["output_tokens"], held["pico"])
    return CallBill(
        model=held["model"],
        usage=likely_usage(bound, 0),
        cost_pico=held["pico"],
        estimated=True,
        latency_ms=max(0, now - held["opened_at"]),
        error=_LOST,
    )


def end_with_run(tx: Tx, run: Row, now: int) -> list[EventDraft]:
    """Bill the calls that are still under way for a run that ends: nothing comes after its end."""
    if not run["reserved_tokens"]:
        return []
    drafts = []
    for held in tx.all(
        "SELECT * FROM holds WHERE run_id = :id AND step_id IS NULL ORDER BY hold_id",
        id=run["run_id"],
    ):
        drafts += _bill(tx, run, held, _lost_bill(held, now), now) or []
    return drafts


def overdue(tx: Tx, now: int) -> Sequence[str]:
    """Return the calls that nobody closed in their time."""
    rows = tx.all("SELECT hold_id FROM holds WHERE expires_at < :now ORDER BY hold_id", now=now)
    return [row["hold_id"] for row in rows]


def expire(tx: Tx, hold_id: str, now: int) -> bool:
    """Bill one call that nobody closed in its time; False when somebody did meanwhile."""
    held = tx.one("SELECT * FROM holds WHERE hold_id = :id", id=hold_id)
    if held is None or not _settle(tx, held, _lost_bill(held, now), now):
        return False
    health.free_probe(tx, held["model"], hold_id)
    return True
