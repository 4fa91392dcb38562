"""What calls of tiers cost, as shares of the cost reference, and which tiers a cap can pay for.

Knows prices; whether a price is worth paying is for `domain.routing` to weigh.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from domain.chat import TokenUsage
from domain.money import PICO_PER_USD
from domain.ports import PriceList
from domain.pricing import PriceBook
from domain.routing.ladder import LADDER, Ladder, rank
from domain.tiers import ModelTier

_USUAL_CALL = TokenUsage(input_tokens=1000, output_tokens=500)
"""What prices of tiers are compared by."""
USUAL_SHARES: Mapping[ModelTier, float] = {
    ModelTier.SIMPLE: 0.1,
    ModelTier.MEDIUM: 0.4,
    ModelTier.COMPLEX: 1.0,
    ModelTier.CRITICAL: 2.0,
}
"""Shares of the cost reference that are taken where a price is not known."""


@dataclass(frozen=True, slots=True)
class TierPrices:
    """USD for a usual call, by model; None while unpriced."""

    by_model: Mapping[str, float | None]

    def costs(self, ladder: Ladder) -> dict[ModelTier, float]:
        """Return what a usual call costs in each tier, as a share of the complex one.

        A tier without a price has its usual share, but costs no less than a priced tier below it
        and no more than one above. Where complex has no price, the strongest priced tier stands
        for its usual share.
        """
        prices = {tier: self._price(ladder.chain(tier)) for tier in LADDER}
        known = {tier: price for tier, price in prices.items() if price}
        base = (
            ModelTier.COMPLEX if ModelTier.COMPLEX in known else max(known, key=rank, default=None)
        )
        if base is None:
            return dict(USUAL_SHARES)
        reference = known[base] / USUAL_SHARES[base]
        shares = {tier: price / reference for tier, price in prices.items() if price is not None}
        return {tier: shares.get(tier, _between(tier, shares)) for tier in LADDER}

    def payable(self, ladder: Ladder) -> Ladder:
        """Return the ladder without models that have no price.

        Where none of its tiers has a priced model it stays as it is.
        """
        chains = {
            tier: tuple(model for model in chain if self.by_model.get(model) is not None)
            for tier, chain in ladder.chains.items()
        }
        left = replace(ladder, chains=chains)
        return left if left.served() else ladder

    def _price(self, models: tuple[str, ...]) -> float | None:
        """Return the price of the first model, which is asked first."""
        return self.by_model.get(models[0]) if models else None


def _between(tier: ModelTier, shares: Mapping[ModelTier, float]) -> float:
    """Return the usual share of a tier, kept between those of its priced neighbours."""
    below = [share for each, share in shares.items() if rank(each) < rank(tier)]
    above = [share for each, share in shares.items() if rank(each) > rank(tier)]
    return min([max([USUAL_SHARES[tier], *below]), *above])


class Pricing:
    """Reads prices: those that were set over the API win over those of the file and the bundle."""

    def __init__(self, prices: PriceList, book: PriceBook | None = None) -> None:
        self._prices = prices
        self._book = book

    async def of(self, ladder: Ladder) -> TierPrices:
        """Return the prices of every model of a ladder."""
        said = await self._book.list_prices() if self._book is not None else {}
        models = {model for tier in LADDER for model in ladder.chain(tier)}
        by_model: dict[str, float | None] = {}
        for model in models:
            cost = self._prices.cost(model, _USUAL_CALL)
            by_model[model] = None if cost is None else float(cost)
            if model in said:
                by_model[model] = said[model].cost(_USUAL_CALL) / PICO_PER_USD
        return TierPrices(by_model)
