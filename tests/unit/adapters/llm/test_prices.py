"""What calls cost."""

import logging
import sys
from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price

from adapters.llm.prices import Prices, chat_models
from domain.chat import TokenUsage

USAGE = TokenUsage(input_tokens=1_000, output_tokens=500, cached_tokens=400)


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o", "openai/gpt-5-mini", "anthropic/claude-sonnet-4-5"]
)
@pytest.mark.parametrize("input_tokens", [1_000, 500_000])
def test_the_bundled_price_is_exactly_what_the_price_library_says(
    model: str, input_tokens: int
) -> None:
    provider, _, name = model.partition("/")
    usage = TokenUsage(input_tokens=input_tokens, output_tokens=500, cached_tokens=400)
    theirs = Usage(input_tokens=input_tokens, output_tokens=500, cache_read_tokens=400)

    expected = calc_price(theirs, name, provider_id=provider).total_price

    assert Prices().cost(model, usage) == expected


def test_every_bundled_chat_model_costs_what_the_price_library_says() -> None:
    prices = Prices()
    for provider in ("openai", "anthropic"):
        for name, _ in chat_models(provider):
            usage = TokenUsage(input_tokens=300_000, output_tokens=7, cached_tokens=5)
            theirs = Usage(input_tokens=300_000, output_tokens=7, cache_read_tokens=5)
            expected = calc_price(theirs, name, provider_id=provider).total_price
            assert prices.cost(f"{provider}/{name}", usage) in (expected, None), name


@pytest.mark.parametrize("model", ["ollama/llama3", "offline/echo", "ollama/a/b:c"])
def test_local_models_cost_nothing(model: str) -> None:
    assert Prices().cost(model, USAGE) == Decimal(0)


def test_an_override_wins_over_every_other_price() -> None:
    fields = {
        "input_per_mtok_usd": "2",
        "output_per_mtok_usd": 4,
        "cached_input_per_mtok_usd": ".5",
    }
    prices = Prices({"openai/gpt-4o": fields, "ollama/big": fields})

    assert prices.cost("openai/gpt-4o", USAGE) == Decimal("0.0034")
    assert prices.cost("ollama/big", USAGE) == Decimal("0.0034")


def test_cached_input_costs_as_much_as_other_input_when_not_priced() -> None:
    prices = Prices({"x/y": {"input_per_mtok_usd": "1", "output_per_mtok_usd": "0"}})

    assert prices.cost("x/y", USAGE) == Decimal("0.001")


def test_more_cached_than_input_tokens_never_make_a_cost_negative() -> None:
    prices = Prices({"x/y": {"input_per_mtok_usd": "1", "output_per_mtok_usd": "0"}})

    assert prices.cost("x/y", TokenUsage(input_tokens=5, cached_tokens=9)) == Decimal("0.000005")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input_per_mtok_usd": "1"},
        {"input_per_mtok_usd": "one", "output_per_mtok_usd": "1"},
        {"input_per_mtok_usd": "-1", "output_per_mtok_usd": "1"},
        {"input_per_mtok_usd": "NaN", "output_per_mtok_usd": "1"},
    ],
)
def test_an_override_that_is_no_price_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="the price of openai/x"):
        Prices({"openai/x": fields})


@pytest.mark.parametrize("model", ["openai/my-finetune", "mistral/large", "noslash"])
def test_an_unknown_model_has_no_price_and_is_told_of_once(
    model: str, caplog: pytest.LogCaptureFixture
) -> None:
    prices = Prices()
    with caplog.at_level(logging.WARNING):
        assert prices.cost(model, USAGE) is None
        assert not caplog.records, "it may have a price of the API's"
        prices.note_unpriced(model)
        prices.note_unpriced(model)

    assert [model in record.getMessage() for record in caplog.records] == [True]


def test_a_model_priced_by_something_other_than_tokens_has_no_price() -> None:
    assert Prices().cost("openai/whisper-1", USAGE) is None


def test_what_callers_make_up_is_forgotten_in_the_end() -> None:
    prices = Prices()
    logging.disable(logging.WARNING)
    try:
        for at in range(5000):
            prices.cost(f"x/{at}", USAGE)
    finally:
        logging.disable(logging.NOTSET)

    assert len(prices._known) < 5000


async def test_warming_loads_the_price_data() -> None:
    await Prices().warm()

    assert "genai_prices.data" in sys.modules
