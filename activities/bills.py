"""What a model call may cost and did cost: rates, caps of the output, bills and totals."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.chat import ChatMessage, TokenUsage
from domain.errors import (
    InternalError,
    MalformedReplyError,
    ModelTimeoutError,
    OrchestratorError,
    ReplyTooLargeError,
    StreamIncompleteError,
)
from domain.money import to_pico, to_usd
from domain.order import ChatOrder
from domain.ports import PriceList
from domain.run import RunUsage
from domain.session import estimate_tokens
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


@dataclass(frozen=True, slots=True)
class OutputCap:
    """How many tokens a reply may have, and which cap of the run says so, if one does."""

    tokens: int
    reason: str | None = None


def plan_call(prices: PriceList, order: ChatOrder) -> CallPlan:
    """Return the call with its rates in picodollars per token, None while unpriced."""
    per_input = prices.cost(order.model, TokenUsage(input_tokens=_MILLION))
    per_output = prices.cost(order.model, TokenUsage(output_tokens=_MILLION))
    return CallPlan(
        model=order.model,
        input_rate=None if per_input is None else to_pico(per_input) // _MILLION,
        output_rate=None if per_output is None else to_pico(per_output) // _MILLION,
        fallback_from=order.fallback_from,
        fallback_reason=order.fallback_reason,
        fallback_step=order.fallback_step,
    )


def output_cap(
    opened: Opened, plan: CallPlan, messages: Sequence[ChatMessage], usual: int
) -> OutputCap:
    """Return the lowest of the usual cap and what the run's tokens and money leave."""
    limits, used = opened.spec.limits, opened.usage
    caps = [OutputCap(usual)]
    if limits.max_tokens is not None:
        left = limits.max_tokens - used.input_tokens - used.output_tokens
        caps.append(OutputCap(max(1, left), "max_tokens"))
    if opened.left_tokens is not None:
        caps.append(OutputCap(opened.left_tokens, "max_tokens"))
    own = to_pico(limits.max_cost_usd) if limits.max_cost_usd is not None else None
    left_pico = None if own is None else own - to_pico(used.cost_usd or "0")
    if opened.left_pico is not None:
        left_pico = min(opened.left_pico, left_pico if left_pico is not None else opened.left_pico)
    if left_pico is not None and plan.output_rate:
        money = left_pico - _said(messages) * (plan.input_rate or 0)
        caps.append(OutputCap(max(1, money // plan.output_rate), "max_cost_usd"))
    return min(caps, key=lambda cap: cap.tokens)


def bill_of(
    prices: PriceList, model: str, usage: TokenUsage, latency_ms: int, stop_reason: str | None
) -> CallBill:
    """Return the bill of a call whose usage the provider reported."""
    cost = prices.cost(model, usage)
    return CallBill(
        model=model,
        usage=usage,
        cost_pico=None if cost is None else to_pico(cost),
        estimated=False,
        latency_ms=latency_ms,
        stop_reason=stop_reason,
    )


def estimate(messages: Sequence[ChatMessage] | None, streamed: Sequence[str]) -> TokenUsage:
    """Return what a call probably used whose provider reported nothing."""
    return TokenUsage(
        input_tokens=_said(messages or ()), output_tokens=(sum(map(len, streamed)) + 3) // 4
    )


def failed_bill(
    prices: PriceList,
    model: str,
    usage: TokenUsage,
    latency_ms: int,
    error: OrchestratorError,
    *,
    is_sent: bool = True,
) -> CallBill:
    """Return the bill of a failed call: an estimate if the provider worked, else nothing."""
    worked = is_sent and (usage.output_tokens > 0 or isinstance(error, _WAS_WORKING))
    spent = usage if worked else TokenUsage()
    cost = prices.cost(model, spent) if worked else 0
    return CallBill(
        model=model,
        usage=spent,
        cost_pico=None if cost is None else to_pico(str(cost)),
        estimated=worked,
        latency_ms=latency_ms,
        error={"code": error.code, "message": error.message[:2000]},
    )


def add(usage: RunUsage, bill: CallBill) -> RunUsage:
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
            "turns": usage.turns + 1,
        }
    )


def _said(messages: Sequence[ChatMessage]) -> int:
    return sum(estimate_tokens(message.content) for message in messages)
