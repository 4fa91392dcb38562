"""What tiers cost: by price where it is known, by a share that fits in between where it is not."""

from decimal import Decimal

import pytest

from domain.learning.tiercosts import USUAL_SHARES, Pricing, TierPrices
from domain.routing.ladder import Ladder
from domain.spending import PriceOverride
from domain.tiers import ModelTier
from tests.fakes.money import FakePriceBook
from tests.fakes.proxy import FakePrices

SIMPLE, MEDIUM, COMPLEX, CRITICAL = ModelTier
LADDER = Ladder({tier: (f"a/{tier}",) for tier in ModelTier})


def costs(**prices: float | None) -> dict[ModelTier, float]:
    by_model = {f"a/{tier}": price for tier, price in prices.items()}
    return TierPrices(by_model).costs(LADDER)


def test_prices_are_compared_with_that_of_the_complex_tier() -> None:
    found = costs(simple=0.01, medium=0.05, complex=0.1, critical=0.3)

    assert found == pytest.approx({SIMPLE: 0.1, MEDIUM: 0.5, COMPLEX: 1.0, CRITICAL: 3.0})


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ({}, dict(USUAL_SHARES)),
        (dict.fromkeys(ModelTier, 0.0), dict(USUAL_SHARES)),
        ({"medium": 0.04}, {SIMPLE: 0.1, MEDIUM: 0.4, COMPLEX: 1.0, CRITICAL: 2.0}),
        (
            {"complex": 0.1, "medium": 0.005},
            {SIMPLE: 0.05, MEDIUM: 0.05, COMPLEX: 1.0, CRITICAL: 2.0},
        ),
        ({"complex": 0.1, "simple": 0.06}, {SIMPLE: 0.6, MEDIUM: 0.6, COMPLEX: 1.0, CRITICAL: 2.0}),
        ({"complex": 0.1, "simple": 0.0}, {SIMPLE: 0.0, MEDIUM: 0.4, COMPLEX: 1.0, CRITICAL: 2.0}),
    ],
)
def test_a_tier_without_a_price_costs_its_usual_share_between_its_neighbours(
    prices: dict[str, float | None], expected: dict[ModelTier, float]
) -> None:
    assert costs(**prices) == pytest.approx(expected)


async def test_a_price_that_was_set_wins() -> None:
    book = FakePriceBook()
    await book.put_price("unpriced/x", PriceOverride(Decimal(1), Decimal(2), Decimal(1)), "ann")
    ladder = Ladder(
        {SIMPLE: ("unpriced/x", "unpriced/y"), MEDIUM: ("unpriced/z",), COMPLEX: ("a/b",)}
    )

    prices = await Pricing(FakePrices(), book).of(ladder)

    assert prices.by_model == {
        "unpriced/x": pytest.approx(0.002),
        "unpriced/y": None,
        "unpriced/z": None,
        "a/b": pytest.approx(0.002),
    }
    assert prices.payable(ladder).chains == {SIMPLE: ("unpriced/x",), MEDIUM: (), COMPLEX: ("a/b",)}


async def test_where_nothing_has_a_price_the_ladder_stays() -> None:
    ladder = Ladder({SIMPLE: ("unpriced/x",)})

    assert (await Pricing(FakePrices()).of(ladder)).payable(ladder) == ladder
