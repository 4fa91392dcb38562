"""What a model call may cost and did cost: rates, bills and totals."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from domain.bounds import bytes_of, likely_usage, padding_of
from domain.chat import ChatMessage, StreamEnd, TokenUsage
from domain.errors import (
    InternalError,
    MalformedReplyError,
    ModelTimeoutError,
    OrchestratorError,
    ReplyTooLargeError,
    StreamIncompleteError,
)
from domain.money import MOST_PICO, to_pico, to_usd
from domain.order import ChatOrder
from domain.ports import PriceList
from domain.run import RunUsage
from domain.step import CallBill, CallPlan, Opened

_MILLION = 1_000_000
_WAS_WORKING = (
    ModelTimeoutError,
    StreamIncompleteError,
    MalformedReplyError,
    ReplyTooLargeError,
    InternalError,
)
"""Failures after which a provider that had taken the request may charge for it."""


def plan_model(prices: PriceList, model: str, max_output: int) -> CallPlan:
    """Return a call with its rates in picodollars per token, None while unpriced.

    They are upper bounds: those of the largest call, where a price grows with the size.
    """
    said = TokenUsage(input_tokens=_MILLION)
    both = TokenUsage(input_tokens=_MILLION, output_tokens=_MILLION)
    per_input, per_both = prices.cost(model, said), prices.cost(model, both)
    is_priced = per_input is not None and per_both is not None
    return CallPlan(
        model=model,
        input_rate=_rate(per_input) if is_priced else None,
        output_rate=_rate(per_both, per_input) if is_priced else None,
        max_output=max_output,
    )


def plan_call(prices: PriceList, order: ChatOrder, max_output: int) -> CallPlan:
    """Return the call of one model of a chain."""
    return replace(
        plan_model(prices, order.model, max_output),
        has_next=order.has_next,
        fallback_from=order.fallback_from,
        fallback_reason=order.fallback_reason,
        fallback_step=order.fallback_step,
        escalated_from=order.escalated_from,
    )


def _rate(most: Decimal | None, less: Decimal | None = None) -> int:
    """Return what one token of a million costs, rounded up."""
    return -(-to_pico((most or Decimal(0)) - (less or Decimal(0))) // _MILLION)


@dataclass(frozen=True, slots=True)
class Meter:
    """What a call costs: by the price that somebody set, else by the list."""

    prices: PriceList
    model: str
    opened: Opened

    def cost(self, usage: TokenUsage) -> int | None:
        """Return picodollars, None while unpriced."""
        if self.opened.price is not None:
            return self.opened.price.cost(usage)
        cost = self.prices.cost(self.model, usage)
        if cost is None:
            self.prices.note_unpriced(self.model)
            return None
        return min(MOST_PICO, to_pico(cost))

    def bill(
        self,
        usage: TokenUsage | None,
        latency_ms: int,
        stop_reason: str | None,
        most_output: int | None = None,
        seen: int = 0,
    ) -> CallBill:
        """Return the bill of a call that ended.

        Without a usage its cost is what was held; `most_output` is an upper bound of the tokens of
        an answer that came whole, so that no more than these are charged of the output held; of one
        without such a bound `seen` is its length. Its tokens are guessed.
        """
        if usage is None:
            bill = self._held(latency_ms, most_output or seen, self._most(most_output))
            return replace(bill, stop_reason=stop_reason)
        return CallBill(
            model=self.model,
            usage=usage,
            cost_pico=self.cost(usage),
            estimated=False,
            latency_ms=latency_ms,
            stop_reason=stop_reason,
        )

    def failed(
        self, latency_ms: int, error: OrchestratorError, *, is_sent: bool, streamed: int
    ) -> CallBill:
        """Return the bill of a failed call: all that was held if the provider worked, else nothing.

        Its usage never arrived, so any lower cost could be below what the provider charges.
        `streamed` is how many bytes of an answer came; its tokens are guessed from them.
        """
        worked = is_sent and (streamed > 0 or isinstance(error, _WAS_WORKING))
        nothing = CallBill(
            model=self.model,
            usage=TokenUsage(),
            cost_pico=0,
            estimated=False,
            latency_ms=latency_ms,
        )
        wait = error.retry_after
        return replace(
            self._held(latency_ms, streamed, self.opened.bound.pico) if worked else nothing,
            error={"code": error.code, "message": error.message[:2000]},
            retry_after_ms=None if wait is None else int(wait.total_seconds() * 1000),
        )

    def _held(self, latency_ms: int, seen: int, cost_pico: int | None) -> CallBill:
        return CallBill(
            model=self.model,
            usage=likely_usage(self.opened.bound, seen, padding_of(self.opened.spec)),
            cost_pico=cost_pico,
            estimated=True,
            latency_ms=latency_ms,
        )

    def _most(self, most_output: int | None) -> int | None:
        """Return what an answer costs at most, and never more than was held for it."""
        price, bound = self.opened.price, self.opened.bound
        if most_output is None or most_output >= bound.output_tokens:
            return bound.pico
        usage = TokenUsage(input_tokens=bound.input_tokens, output_tokens=most_output)
        # How much of the input was cached is not known; it may even cost more.
        rates = None if price is None else price.rates
        cost = rates.cost(usage.input_tokens, usage.output_tokens) if rates else self.cost(usage)
        return cost if cost is None or bound.pico is None else min(cost, bound.pico)


def size_of(texts: Iterable[str]) -> int:
    """Return how many bytes texts have."""
    return sum(len(text.encode("utf-8", "replace")) for text in texts)


def most_output(text: str, end: StreamEnd) -> int:
    """Return an upper bound of the tokens of an answer that came whole."""
    said = ChatMessage(role="assistant", content=text, tool_calls=end.tool_calls)
    return bytes_of((said,)) + end.thought_bytes


def add(usage: RunUsage, bill: CallBill, turns: int = 1) -> RunUsage:
    """Return the run's total after one more committed reply."""
    cost = None
    if usage.cost_usd is not None and bill.cost_pico is not None:
        cost = to_usd(to_pico(usage.cost_usd) + bill.cost_pico)
    return usage.model_copy(
        update={
            "input_tokens": usage.input_tokens + bill.usage.input_tokens,
            "output_tokens": usage.output_tokens + bill.usage.output_tokens,
            "cached_tokens": usage.cached_tokens + bill.usage.cached_tokens,
            "cost_usd": cost,
            "model_calls": usage.model_calls + 1,
            "turns": usage.turns + turns,
        }
    )
