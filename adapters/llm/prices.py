"""What a call costs: bundled prices, under the operator's own, over local models that cost nothing.

Prices are USD per million tokens. The bundled ones (genai-prices) are read offline, at the first
question; a model that is in neither list has no price, which is told once in the log.
Source: https://github.com/pydantic/genai-prices
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from domain.chat import TokenUsage

if TYPE_CHECKING:
    from genai_prices.data_snapshot import DataSnapshot
    from genai_prices.types import ModelInfo as KnownModel

_LOG = logging.getLogger(__name__)
_MILLION = Decimal(1_000_000)
_NO_CHAT = re.compile(
    r"audio|realtime|image|tts|transcribe|embedding|whisper|moderation|computer-use|instruct|[-:]$"
)
"""In the names of models that are not spoken to through chat completions."""
_REMEMBERED = 4096
"""Lookups that are kept: callers choose names, so there is no end to them."""
_FREE_PROVIDERS = frozenset({"ollama", "offline", "degraded"})
BUNDLED_PROVIDERS = frozenset({"openai", "anthropic"})
"""Whose names mean the same to genai-prices; another provider's name could match anything."""


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal

    def cost(self, usage: TokenUsage) -> Decimal:
        """Return the exact cost of `usage`; cached tokens are a part of the input ones."""
        cached = min(usage.cached_tokens, usage.input_tokens)
        total = (
            self.input * (usage.input_tokens - cached)
            + self.cached_input * cached
            + self.output * usage.output_tokens
        )
        return total / _MILLION


FREE = Rates(Decimal(0), Decimal(0), Decimal(0))


class Prices:
    """A `PriceList`. Lookups are remembered: it is asked at every call."""

    def __init__(self, overrides: Mapping[str, Mapping[str, object]] | None = None) -> None:
        """Take `overrides` as `{"<provider>/<model>": {"input_per_mtok_usd": ...}}`.

        Raises:
            ValueError: an override has no input or output price, or one that is not a number.
        """
        self._overrides = {
            model: _read_override(model, fields) for model, fields in (overrides or {}).items()
        }
        self._known: dict[str, KnownModel | None] = {}
        self._noted: set[str] = set()

    def cost(self, model: str, usage: TokenUsage) -> Decimal | None:
        """Return USD for `usage`; see the port."""
        rates = self.rates(model, usage.input_tokens)
        return None if rates is None else rates.cost(usage)

    def rates(self, model: str, input_tokens: int = 0) -> Rates | None:
        """Return the rates of `<provider>/<name>` for a call of this size, None while unpriced."""
        override = self._overrides.get(model)
        if override is not None:
            return override
        provider, _, name = model.partition("/")
        if provider in _FREE_PROVIDERS:
            return FREE
        if model not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[model] = _find(provider, name)
        known = self._known[model]
        return None if known is None else _rates(known, input_tokens)

    def source(self, model: str) -> str | None:
        """Return who says what a model costs, `file` or `bundled`; None while unpriced."""
        if model in self._overrides:
            return "file"
        return None if self.rates(model) is None else "bundled"

    def overridden(self) -> list[str]:
        """Return the models that the operator's file prices, by name."""
        return sorted(self._overrides)

    async def warm(self) -> None:
        """Load the bundled prices off the event loop."""
        await asyncio.to_thread(_bundled)

    def note_unpriced(self, model: str) -> None:
        """Tell of a missing price, once; see the port."""
        if model not in self._noted and len(self._noted) < _REMEMBERED:
            self._noted.add(model)
            _LOG.warning("%s has no known price; its calls cost null until it is given one", model)


def _bundled() -> "DataSnapshot":
    # Here, not above: the price data takes a quarter of a second to load.
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    return get_snapshot()


def chat_models(provider: str) -> list[tuple[str, int]]:
    """Return the bundled chat models of `provider` with their context windows, by name."""
    known = next(item for item in _bundled().providers if item.id == provider)
    return sorted(
        (model.id, model.context_window)
        for model in known.models
        if model.context_window is not None and not _NO_CHAT.search(model.id)
    )


def _find(provider: str, name: str) -> "KnownModel | None":
    if provider not in BUNDLED_PROVIDERS:
        return None
    try:
        _, known = _bundled().find_provider_model(name, None, provider, None)
    except LookupError:
        return None
    return known


def _rates(known: "KnownModel", input_tokens: int) -> Rates | None:
    prices = known.get_prices(datetime.now(UTC))
    plain = _per_mtok(prices.input_mtok, input_tokens)
    output = _per_mtok(prices.output_mtok, input_tokens)
    if plain is None or output is None:
        return None
    cached = _per_mtok(prices.cache_read_mtok, input_tokens)
    return Rates(plain, output, plain if cached is None else cached)


def _per_mtok(price: Any, input_tokens: int) -> Decimal | None:  # noqa: ANN401 - two library types
    """Return a price; one with tiers goes by the size of the whole input."""
    if price is None or isinstance(price, Decimal):
        return price
    reached = [tier.price for tier in price.tiers if input_tokens > tier.start]
    return Decimal(reached[-1] if reached else price.base)


def _read_override(model: str, fields: Mapping[str, object]) -> Rates:
    try:
        plain = Decimal(str(fields["input_per_mtok_usd"]))
        output = Decimal(str(fields["output_per_mtok_usd"]))
        cached = fields.get("cached_input_per_mtok_usd")
        rates = Rates(plain, output, plain if cached is None else Decimal(str(cached)))
    except (KeyError, ArithmeticError) as error:
        raise ValueError(
            f"the price of {model} needs input_per_mtok_usd and output_per_mtok_usd, as numbers"
        ) from error
    if not all(rate.is_finite() and rate >= 0 for rate in (plain, output, rates.cached_input)):
        raise ValueError(f"the price of {model} is not a number of dollars")
    return rates
