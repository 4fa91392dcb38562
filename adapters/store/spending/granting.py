"""Whether a model call may be made, and how large it may get: caps, budgets, breakers, rates.

All of it inside the transaction that opens the call, on locked rows: two calls cannot both take
what is left. Nothing is held here yet; `Grant` says what to hold.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from adapters.store.children.family import Cap, caps_over
from adapters.store.database.tx import Row, Tx
from adapters.store.spending.payers import Payer, budgets_of, payer_of
from domain.bounds import USEFUL_TOKENS, CallBound, PriceOverride, Rates
from domain.budget import OnExhausted
from domain.errors import StepRefusedError
from domain.event import encode_json
from domain.money import to_usd
from domain.run import RunSpec
from domain.step import WRITTEN, CallPlan

_STRICTEST = (OnExhausted.STOP, OnExhausted.ASK, OnExhausted.DEGRADE)


@dataclass(frozen=True, slots=True)
class Grant:
    """The call may be made: its bound, which cap made it so small, and who holds it."""

    bound: CallBound
    rates: Rates
    price: PriceOverride | None
    cut_by: str | None
    budgets: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Lacking:
    """A budget does not cover the call, which may cost `needed`.

    `is_busy`: it would, without what is held of it.
    """

    budget: Mapping[str, Any]
    needed: int
    is_busy: bool


def dump(grant: Grant) -> str:
    """Return what a step's row keeps of a grant besides its bound and rates."""
    price = grant.price
    prices = (price.input_usd, price.output_usd, price.cached_input_usd) if price else None
    return encode_json({"cut_by": grant.cut_by, "price": prices and [f"{p:f}" for p in prices]})


def load(granted: str | None) -> tuple[str | None, PriceOverride | None]:
    """Return the cap that cut a grant, and the price that was set for it."""
    kept = json.loads(granted) if granted else {}
    prices = kept.get("price")
    return kept.get("cut_by"), PriceOverride(*map(Decimal, prices)) if prices else None


def price_of(tx: Tx, model: str) -> PriceOverride | None:
    """Return the price that somebody set over the API."""
    row = tx.one("SELECT * FROM prices WHERE model = :model", model=model)
    if row is None:
        return None
    return PriceOverride(
        Decimal(row["input_usd"]), Decimal(row["output_usd"]), Decimal(row["cached_input_usd"])
    )


def grant(
    tx: Tx, run: Row, spec: RunSpec, plan: CallPlan, input_tokens: int, now: int
) -> Grant | Lacking | Cap:
    """Say how large the next model call of a run may get; a cap that other calls hold is returned.

    Raises:
        StepRefusedError: `max_cost_usd`, `max_tokens` or `price_unknown`.
    """
    if plan.model.startswith(WRITTEN):
        # It uses nothing of anybody: no cap is in its way.
        return Grant(CallBound(input_tokens, plan.max_output, 0), Rates(0, 0), None, None, ())
    price = price_of(tx, plan.model)
    rates = price.rates if price else Rates(plan.input_rate, plan.output_rate)
    most = plan.max_output
    cut_by: str | None = None
    for cap in caps_over(tx, run, spec):
        room = _room(cap, plan, rates, input_tokens)
        if cap.held and room < min(plan.max_output, USEFUL_TOKENS):
            return cap
        if room < most:
            most, cut_by = room, cap.name
    wish = Grant(CallBound(input_tokens, most, 0), rates, price, cut_by, ())
    return wish if rates.is_free else within(tx, payer_of(run), plan.model, wish, now)


def _room(cap: Cap, plan: CallPlan, rates: Rates, input_tokens: int) -> int:
    """Return how long a reply a cap allows now; less than 1 while other calls hold what is left.

    Raises:
        StepRefusedError: it allows none, whatever becomes of other calls; or `price_unknown`.
    """
    if cap.name == "max_tokens":
        if cap.rest <= 0:
            raise _used_up(cap)
        return cap.left
    floor, said = rates.cost(input_tokens, 1), rates.cost(input_tokens, 0)
    if floor is None or said is None:
        raise unpriced_under(cap, plan.model)
    if cap.rest <= 0 or cap.rest < floor:
        raise _used_up(cap, f": the next call may cost {to_usd(floor)} and more")
    if not rates.output:
        return plan.max_output if cap.left >= said else 0
    return (cap.left - said) // rates.output


def _used_up(cap: Cap, more: str = "") -> StepRefusedError:
    said = f"run {cap.run_id}, with what it started, reached {_name(cap)}{more}"
    return StepRefusedError(said, reason=cap.name)


def _name(cap: Cap) -> str:
    return f"the cap {cap.name} of {cap.amount(cap.limit)}"


def within(tx: Tx, payer: Payer, model: str, wish: Grant, now: int) -> Grant | Lacking:
    """Cut a call to what the budgets leave, or say which one does not cover it.

    Raises:
        StepRefusedError: `price_unknown`.
    """
    budgets, rates = budgets_of(tx, payer, now), wish.rates
    said, most = wish.bound.input_tokens, wish.bound.output_tokens
    cost = rates.cost(said, most)
    if cost is None:
        if budgets:
            raise unpriced(model, f"budget {budgets[0]['budget_id']}")
        return replace(wish, bound=CallBound(said, most, None))
    least = rates.cost(said, min(most, USEFUL_TOKENS)) or 0
    needs = [_Need(budget, least if _stops(budget) else cost) for budget in budgets]
    if any(need.lacks for need in needs):
        return _lacking(needs, cost)
    room, cut_by = min((_free(budget) for budget in budgets), default=cost), wish.cut_by
    if room < cost and rates.output:
        most, cut_by = (room - (rates.cost(said, 0) or 0)) // rates.output, "budget_exhausted"
    bound = CallBound(said, most, rates.cost(said, most))
    return replace(wish, bound=bound, cut_by=cut_by, budgets=budgets)


def _free(budget: Mapping[str, Any]) -> int:
    return int(budget["limit_pico"] - budget["spent_pico"] - budget["reserved_pico"])


def _stops(budget: Mapping[str, Any]) -> bool:
    """Whether a shorter reply is better than none: elsewhere a person, or another model, is."""
    return OnExhausted(budget["on_exhausted"]) is OnExhausted.STOP


@dataclass(frozen=True, slots=True)
class _Need:
    """What a call needs of a budget at least."""

    budget: Mapping[str, Any]
    pico: int

    @property
    def lacks(self) -> bool:
        return _free(self.budget) < self.pico

    @property
    def is_spent(self) -> bool:
        """Whether it would lack also without what is held."""
        return bool(self.budget["limit_pico"] - self.budget["spent_pico"] < self.pico)


def _lacking(needs: Sequence[_Need], cost: int) -> Lacking:
    """Return the strictest of the budgets that lack, one that is spent before one that is held."""
    lacking = [need for need in needs if need.lacks]
    spent = [need for need in lacking if need.is_spent]
    by_action = {action: place for place, action in enumerate(_STRICTEST)}
    worst = min(spent or lacking, key=lambda n: by_action[OnExhausted(n.budget["on_exhausted"])])
    return Lacking(worst.budget, cost, is_busy=not spent)


def refuse_unpriced(tx: Tx, run: Row, model: str, now: int) -> None:
    """Refuse a call of unknown price where any cap in money counts.

    Raises:
        StepRefusedError: `price_unknown`; `max_tokens`: nothing is left.
    """
    for cap in caps_over(tx, run, RunSpec.model_validate_json(run["spec"])):
        if cap.name == "max_cost_usd":
            raise unpriced_under(cap, model)
        # Nothing is held for such a call, so it does not wait for what others hold either.
        if (cap.rest if cap.run_id == run["run_id"] else cap.left) <= 0:
            raise _used_up(cap)
    budgets = budgets_of(tx, payer_of(run), now)
    if budgets:
        raise unpriced(model, f"budget {budgets[0]['budget_id']}")


def unpriced_under(cap: Cap, model: str) -> StepRefusedError:
    """Return the refusal of a call of unknown price under a cap in money."""
    return unpriced(model, f"{_name(cap)} of run {cap.run_id}")


def unpriced(model: str, what: str) -> StepRefusedError:
    """Return the refusal of a call that costs nobody knows what, under a cap in money."""
    return StepRefusedError(
        f"the price of {model} is not known, so {what} cannot be kept; give it one with"
        f" PUT /v1/models/{model}/price, or name another model",
        reason="price_unknown",
    )
