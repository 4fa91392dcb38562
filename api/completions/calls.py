"""Model calls on the ledger: what one may cost is held before it is made, and billed after.

A call that was cut before its usage arrived costs what was held, marked as an estimate, so that the
ledger is never below the provider's bill; its tokens are a guess from what came.
"""

import logging
from decimal import Decimal
from typing import Any

from api.access import Access
from api.background import Background
from api.completions.asking import Ask
from api.ports import ProxyConfig, ProxyPorts
from domain.bounds import CallBound, likely_usage
from domain.chat import TokenUsage
from domain.errors import (
    ModelAuthError,
    ModelNotConfiguredError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelUnavailableError,
    NotSupportedError,
    OrchestratorError,
)
from domain.money import to_pico
from domain.ports import Clock, Ids, PriceList
from domain.spending import CallBook, NewCall, PriceOverride
from domain.step import CallBill
from domain.upstream import Reply

_LOG = logging.getLogger(__name__)
_GRACE_SECONDS = 30.0
"""Beyond the longest call, until what is held for one counts as leaked; no longer than a call."""
_REFUSALS = (
    ModelUnavailableError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelAuthError,
    ModelNotConfiguredError,
    NotSupportedError,
)
"""Failures in which no provider worked, if nothing of an answer came before them."""


class Ledger:
    """Opens calls."""

    def __init__(
        self, ports: ProxyPorts, config: ProxyConfig, clock: Clock, ids: Ids, behind: Background
    ) -> None:
        self._ports = ports
        self._config = config
        self._clock = clock
        self._ids = ids
        self._behind = behind

    async def open(
        self, access: Access, ask: Ask, model: str, route: dict[str, Any] | None = None
    ) -> "OpenCall":
        """Hold what a call of `model` may cost at most; `route` is why it was chosen.

        Raises:
            BudgetExhaustedError, PriceUnknownError, CircuitOpenError, ModelRateLimitedError: it may
                not be made.
            NotFoundError, RunTerminalError: its run is not there, or has ended.
        """
        longest = self._config.total_seconds
        bound = TokenUsage(input_tokens=ask.input_tokens, output_tokens=ask.output_tokens)
        cost = self._ports.prices.cost(model, bound)
        call = NewCall(
            call_id=self._ids.new("call"),
            owner=access.who.owner,
            key_id=access.who.key_id,
            run_id=ask.run_id,
            model=model,
            input_tokens=bound.input_tokens,
            output_tokens=bound.output_tokens,
            pico=None if cost is None else to_pico(cost),
            max_seconds=longest + min(longest, _GRACE_SECONDS),
            route=route,
        )
        started = self._clock.now_ms()
        opened = await self._ports.calls.open_call(call)
        rates = _Rates(model, self._ports.prices, opened.price)
        return OpenCall(self._ports.calls, call, rates, self._clock, started, self._behind)


class _Rates:
    """What a model's tokens cost: as somebody set it over the API, else by the price list."""

    def __init__(self, model: str, prices: PriceList, override: PriceOverride | None) -> None:
        self._model = model
        self._prices = prices
        self._override = override

    def pico(self, usage: TokenUsage) -> int | None:
        """Return the cost of `usage`, None while unpriced."""
        if self._override is None:
            cost = self._prices.cost(self._model, usage)
            if cost is None:
                self._prices.note_unpriced(self._model)
        else:
            cost = _priced(self._override, usage)
        return None if cost is None else to_pico(cost)


def _priced(price: PriceOverride, usage: TokenUsage) -> Decimal:
    cached = min(usage.cached_tokens, usage.input_tokens)
    total = (
        price.input_usd * (usage.input_tokens - cached)
        + price.cached_input_usd * cached
        + price.output_usd * usage.output_tokens
    )
    return total / 1_000_000


class OpenCall:
    """A call under way; it is billed exactly once."""

    def __init__(
        self,
        book: CallBook,
        call: NewCall,
        rates: _Rates,
        clock: Clock,
        started_ms: int,
        behind: Background,
    ) -> None:
        self.call = call
        self._book = book
        self._rates = rates
        self._clock = clock
        self._started = started_ms
        self._behind = behind
        self._is_closed = False

    async def done(self, reply: Reply) -> None:
        """Bill an answer that came whole."""
        await self._close(reply, reply.usage, None)

    async def failed(self, error: OrchestratorError, reply: Reply) -> None:
        """Bill a call that failed."""
        usage = reply.usage
        if usage is None and not reply.has_begun and isinstance(error, _REFUSALS):
            usage = TokenUsage()
        named = {"code": error.code, "message": error.message[:2000]}
        await self._close(reply, usage, named)

    def cut(self, reply: Reply) -> None:
        """Bill a call whose caller went away, unless it is billed; behind the caller's back."""
        if not self._is_closed:
            error = {"code": "client_closed", "message": "the caller went away"}
            self._behind.spawn(self._close(reply, reply.usage, error))

    async def _close(
        self, reply: Reply, usage: TokenUsage | None, error: dict[str, str] | None
    ) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        call = self.call
        bound = CallBound(call.input_tokens, call.output_tokens, None)
        most = TokenUsage(input_tokens=call.input_tokens, output_tokens=call.output_tokens)
        bill = CallBill(
            model=call.model,
            usage=usage or likely_usage(bound, reply.seen),
            cost_pico=self._rates.pico(usage or most),
            estimated=usage is None,
            latency_ms=max(0, self._clock.now_ms() - self._started),
            error=error,
            stop_reason=None if error else reply.stop_reason,
        )
        try:
            await self._book.close_call(call.call_id, bill)
        except OrchestratorError as failure:
            # The answer stands; what was held is billed when the call's time is over.
            _LOG.warning("call %s could not be billed: %s", call.call_id, failure)
