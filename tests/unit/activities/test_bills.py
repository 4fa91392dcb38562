"""What calls cost: caps of the output, estimates, and what a failure is charged."""

from decimal import Decimal

import pytest

from activities import bills
from activities.bills import OutputCap
from domain.agent import Limits
from domain.chat import ChatMessage, TokenUsage
from domain.errors import (
    InternalError,
    ModelRateLimitedError,
    ModelRequestError,
    OrchestratorError,
    StreamIncompleteError,
)
from domain.order import ChatOrder
from domain.run import RunSpec, RunUsage
from domain.step import CallPlan, Opened


class Prices:
    """A dollar per million tokens in, two out; `x/free` costs nothing, others are not known."""

    def cost(self, model: str, usage: TokenUsage) -> Decimal | None:
        if model == "x/free":
            return Decimal(0)
        if model != "x/known":
            return None
        return Decimal(usage.input_tokens + 2 * usage.output_tokens) / Decimal(1_000_000)


def _opened(limits: Limits, usage: RunUsage | None = None) -> Opened:
    return Opened(
        attempt=1,
        spec=RunSpec(limits=limits),
        owner="o",
        session_id="s",
        agent_id="a",
        usage=usage or RunUsage(),
        messages=(),
        content="",
    )


PLAN = bills.plan_call(Prices(), ChatOrder(run_id="r", step_id="llm-1-1", model="x/known"))
QUESTION = (ChatMessage(role="user", content="x" * 400),)


def test_rates_are_picodollars_a_token() -> None:
    unknown = bills.plan_call(Prices(), ChatOrder(run_id="r", step_id="llm-1-1", model="x/new"))

    assert (PLAN.input_rate, PLAN.output_rate) == (1_000_000, 2_000_000)
    assert (unknown.input_rate, unknown.output_rate) == (None, None)


@pytest.mark.parametrize(
    ("limits", "usage", "cap"),
    [
        (Limits(), RunUsage(), OutputCap(4096)),
        (Limits(max_tokens=100), RunUsage(input_tokens=60), OutputCap(40, "max_tokens")),
        (Limits(max_tokens=10), RunUsage(input_tokens=60), OutputCap(1, "max_tokens")),
        # 0.001 USD less 100 tokens in leaves 900 microdollars: 450 tokens out.
        (Limits(max_cost_usd="0.001"), RunUsage(), OutputCap(450, "max_cost_usd")),
        (Limits(max_cost_usd="9"), RunUsage(), OutputCap(4096)),
    ],
)
def test_a_reply_may_be_as_long_as_the_tightest_cap_leaves(
    limits: Limits, usage: RunUsage, cap: OutputCap
) -> None:
    assert bills.output_cap(_opened(limits, usage), PLAN, QUESTION, 4096) == cap


def test_a_model_that_costs_nothing_is_not_cut_by_money() -> None:
    free = CallPlan("x/free", input_rate=0, output_rate=0)

    cap = bills.output_cap(_opened(Limits(max_cost_usd="0.1")), free, QUESTION, 4096)

    assert cap == OutputCap(4096)


@pytest.mark.parametrize(
    ("error", "streamed", "is_charged"),
    [
        (ModelRateLimitedError("429"), [], False),
        (ModelRequestError("400"), [], False),
        (StreamIncompleteError("cut"), [], True),
        (ModelRateLimitedError("late"), ["half an", " answer"], True),
    ],
)
def test_a_refused_request_costs_nothing_and_a_broken_one_its_estimate(
    error: OrchestratorError, streamed: list[str], is_charged: bool
) -> None:
    usage = bills.estimate(QUESTION, streamed)

    bill = bills.failed_bill(Prices(), "x/known", usage, 5, error)

    assert bill.estimated is is_charged
    assert (bill.cost_pico != 0) is is_charged
    assert bill.error == {"code": error.code, "message": error.message}


def test_a_request_that_was_never_sent_costs_nothing() -> None:
    error, usage = InternalError("ValueError: x"), TokenUsage(input_tokens=100)

    unsent = bills.failed_bill(Prices(), "x/known", usage, 5, error, is_sent=False)
    sent = bills.failed_bill(Prices(), "x/known", usage, 5, error)

    assert (unsent.estimated, unsent.cost_pico) == (False, 0)
    assert (sent.estimated, sent.cost_pico) == (True, 100_000_000)


def test_a_broken_call_without_a_price_stays_unpriced() -> None:
    bill = bills.failed_bill(Prices(), "x/new", TokenUsage(), 5, StreamIncompleteError("cut"))

    assert bill.cost_pico is None


def test_a_reported_call_is_billed_as_reported() -> None:
    usage = TokenUsage(input_tokens=10, output_tokens=5, cached_tokens=4)

    bill = bills.bill_of(Prices(), "x/known", usage, 7, "stop")
    total = bills.add(RunUsage(cost_usd="1", turns=1), bill)

    assert (bill.cost_pico, bill.estimated, bill.stop_reason) == (20_000_000, False, "stop")
    assert (total.input_tokens, total.cached_tokens, total.turns) == (10, 4, 2)
    assert total.cost_usd == "1.00002"
    unpriced = bills.bill_of(Prices(), "x/new", usage, 7, None)
    assert bills.add(total, unpriced).cost_usd is None
