"""What calls cost: rates, what was held, and what a failure is charged."""

from datetime import timedelta
from decimal import Decimal

import pytest

from activities import bills
from activities.bills import Meter
from domain.bounds import CallBound, PriceOverride
from domain.chat import StreamEnd, TokenUsage, ToolCallRequest
from domain.errors import (
    InternalError,
    ModelRateLimitedError,
    ModelRequestError,
    OrchestratorError,
    StreamIncompleteError,
)
from domain.order import ChatOrder
from domain.run import RunSpec, RunUsage
from domain.step import Opened


class Prices:
    """A dollar per million tokens in, two out; `x/free` costs nothing, others are not known."""

    def note_unpriced(self, model: str) -> None:
        pass

    def cost(self, model: str, usage: TokenUsage) -> Decimal | None:
        if model == "x/free":
            return Decimal(0)
        if model != "x/known":
            return None
        return Decimal(usage.input_tokens + 2 * usage.output_tokens) / Decimal(1_000_000)


ORDER = ChatOrder(run_id="r", step_id="llm-1-1", model="x/known")
PLAN = bills.plan_call(Prices(), ORDER, 4096)


def test_rates_are_picodollars_a_token() -> None:
    unknown = bills.plan_call(Prices(), ORDER.model_copy(update={"model": "x/new"}), 4096)

    assert (PLAN.input_rate, PLAN.output_rate) == (1_000_000, 2_000_000)
    assert (unknown.input_rate, unknown.output_rate) == (None, None)


def test_rates_are_those_of_the_largest_call_rounded_up() -> None:
    class Tiered(Prices):
        def cost(self, model: str, usage: TokenUsage) -> Decimal | None:
            rate = Decimal(3) if usage.input_tokens > 200_000 else Decimal(1)
            tokens = usage.input_tokens + 2 * usage.output_tokens
            return rate * tokens / Decimal(1_000_000_000_000) / 7

    plan = bills.plan_call(Tiered(), ORDER, 100)

    assert (plan.input_rate, plan.output_rate, plan.max_output) == (1, 1, 100)


def _meter(model: str, price: PriceOverride | None = None) -> Meter:
    opened = Opened(
        attempt=1,
        spec=RunSpec(),
        owner="o",
        session_id="s",
        agent_id="a",
        usage=RunUsage(),
        messages=(),
        content="",
        bound=CallBound(1000, 50, 1_100_000_000 if model == "x/known" else None),
        price=price,
    )
    return Meter(Prices(), model, opened)


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
    seen = len("".join(streamed))
    bill = _meter("x/known").failed(5, error, is_sent=True, streamed=seen)

    assert bill.estimated is is_charged
    assert bill.cost_pico == (1_100_000_000 if is_charged else 0)
    assert bill.usage.input_tokens == (234 if is_charged else 0)
    assert bill.usage.output_tokens == -(-seen // 4)
    assert bill.error == {"code": error.code, "message": error.message}


def test_a_request_that_was_never_sent_costs_nothing() -> None:
    error = InternalError("ValueError: x")

    unsent = _meter("x/known").failed(5, error, is_sent=False, streamed=0)
    sent = _meter("x/known").failed(5, error, is_sent=True, streamed=0)

    assert (unsent.estimated, unsent.cost_pico) == (False, 0)
    assert (sent.estimated, sent.cost_pico) == (True, 1_100_000_000)


def test_a_refusal_says_how_long_to_stay_away() -> None:
    error = ModelRateLimitedError("429", retry_after=timedelta(seconds=2.5))

    bill = _meter("x/known").failed(5, error, is_sent=True, streamed=0)

    assert bill.retry_after_ms == 2500


def test_a_broken_call_without_a_price_stays_unpriced() -> None:
    error = StreamIncompleteError("cut")

    assert _meter("x/new").failed(5, error, is_sent=True, streamed=4).cost_pico is None


def test_a_call_that_ended_without_a_usage_is_billed_at_what_was_held() -> None:
    bill = _meter("x/known").bill(None, 7, "stop")

    assert (bill.cost_pico, bill.estimated, bill.stop_reason) == (1_100_000_000, True, "stop")


def test_a_whole_answer_without_a_usage_is_billed_by_what_was_said() -> None:
    call = ToolCallRequest(call_id="c", name="add", arguments='{"é":1}')
    short = bills.most_output("hel", StreamEnd(stop_reason="stop"))
    thought = bills.most_output("hel", StreamEnd(stop_reason="stop", thought_bytes=9))
    called = bills.most_output("hel", StreamEnd(stop_reason="stop", tool_calls=(call,)))

    bill = _meter("x/known").bill(None, 7, "stop", short)

    assert (short, thought, called) == (3 + 16, 3 + 16 + 9, 3 + 16 + 3 + 8 + 16)
    assert (bill.usage.input_tokens, bill.usage.output_tokens) == (234, -(-short // 4))
    assert (bill.cost_pico, bill.estimated) == (1000 * 1_000_000 + short * 2_000_000, True)


def test_no_more_tokens_are_guessed_than_were_asked_for() -> None:
    error = StreamIncompleteError("cut")

    bill = _meter("x/known").failed(5, error, is_sent=True, streamed=10_000)

    assert (bill.usage.input_tokens, bill.usage.output_tokens) == (234, 50)


def test_a_whole_answer_without_a_usage_is_never_billed_above_what_was_held() -> None:
    price = PriceOverride(Decimal(10), Decimal(20), Decimal(30))

    long = _meter("x/known").bill(None, 7, "stop", 51)
    dear = _meter("x/known", price).bill(None, 7, "stop", 19)

    assert (long.usage.output_tokens, long.cost_pico) == (13, 1_100_000_000)
    assert dear.cost_pico == 1_100_000_000
    assert _meter("x/new").bill(None, 7, "stop", 19).cost_pico is None


def test_a_price_that_somebody_set_is_taken_at_its_dearest_when_nobody_counted() -> None:
    price = PriceOverride(Decimal("0.1"), Decimal("0.2"), Decimal("0.3"))

    bill = _meter("x/known", price).bill(None, 7, "stop", 19)

    assert bill.cost_pico == 1000 * 300_000 + 19 * 200_000


def test_a_reported_call_is_billed_as_reported() -> None:
    usage = TokenUsage(input_tokens=10, output_tokens=5, cached_tokens=4)

    bill = _meter("x/known").bill(usage, 7, "stop")
    total = bills.add(RunUsage(cost_usd="1", turns=1), bill)

    assert (bill.cost_pico, bill.estimated, bill.stop_reason) == (20_000_000, False, "stop")
    assert (total.input_tokens, total.cached_tokens, total.turns) == (10, 4, 2)
    assert total.cost_usd == "1.00002"
    unpriced = _meter("x/new").bill(usage, 7, None)
    assert bills.add(total, unpriced).cost_usd is None


def test_a_price_that_somebody_set_counts_before_the_list() -> None:
    usage = TokenUsage(input_tokens=10, output_tokens=5, cached_tokens=4)
    price = PriceOverride(Decimal(10), Decimal(20), Decimal(1))

    # 6 tokens at 10, 4 at 1, 5 at 20 USD a million.
    assert _meter("x/known", price).bill(usage, 7, None).cost_pico == 164_000_000
