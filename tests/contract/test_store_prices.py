"""The contract of `PriceBook` over both databases."""

from decimal import Decimal

import pytest

from domain.errors import NotFoundError
from domain.spending import PriceOverride
from tests.contract.store_engines import StoreBox

CHEAP = PriceOverride(Decimal("0.000001"), Decimal(10), Decimal("0.5"))
DEAR = PriceOverride(Decimal(100), Decimal("1000.25"), Decimal(100))


async def test_the_last_word_on_a_price_counts(store: StoreBox) -> None:
    await store.prices.put_price("openai/a/b", CHEAP, "ann")
    await store.prices.put_price("openai/x", CHEAP, "ann")
    await store.prices.put_price("openai/x", DEAR, "ann")

    assert await store.prices.list_prices() == {"openai/a/b": CHEAP, "openai/x": DEAR}


async def test_what_was_said_is_forgotten_once(store: StoreBox) -> None:
    await store.prices.put_price("openai/x", DEAR, "ann")
    await store.prices.delete_price("openai/x")

    with pytest.raises(NotFoundError):
        await store.prices.delete_price("openai/x")
    assert await store.prices.list_prices() == {}
