"""Prices that the operator sets over the API: they win over those of the file and the bundle."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from domain.chat import ModelInfo
from domain.spending import PriceOverride


class PriceBook(Protocol):
    """Prices on record, the same for every owner. `model` is `<provider>/<name>`."""

    async def put_price(self, model: str, price: PriceOverride, by: str) -> None:
        """Set what a model costs from the next call on; `by` is the credential that says so."""
        ...

    async def delete_price(self, model: str) -> None:
        """Forget what was said; the price of the file or the bundle counts again.

        Raises:
            NotFoundError: nothing was said of this model.
        """
        ...

    async def list_prices(self) -> Mapping[str, PriceOverride]:
        """Return what was said, by model."""
        ...


def priced(
    models: Sequence[ModelInfo], overrides: Mapping[str, PriceOverride]
) -> Sequence[ModelInfo]:
    """Return the models with the prices that were set; one that was priced only is there too."""
    known = with_noted(models, overrides)
    return [_priced(info, overrides.get(info.model)) for info in known]


def with_noted(models: Sequence[ModelInfo], noted: Iterable[str]) -> Sequence[ModelInfo]:
    """Return the models, and those of which something is noted although no list has them."""
    known = {info.model for info in models}
    configured = {info.provider for info in models if info.configured}
    extra = []
    for model in sorted(set(noted) - known):
        provider = model.partition("/")[0]
        extra.append(ModelInfo(model=model, provider=provider, configured=provider in configured))
    return [*models, *extra]


def _priced(info: ModelInfo, price: PriceOverride | None) -> ModelInfo:
    if price is None:
        return info
    return info.model_copy(
        update={
            "input_per_mtok_usd": f"{price.input_usd:f}",
            "output_per_mtok_usd": f"{price.output_usd:f}",
            "cached_input_per_mtok_usd": f"{price.cached_input_usd:f}",
            "price_source": "api",
        }
    )
