"""Prices that were set over the API, as rows. The steps read them where they bill."""

from collections.abc import Mapping
from decimal import Decimal

from adapters.store.database.tx import Engine, Tx
from domain.errors import NotFoundError
from domain.ports import Clock
from domain.spending import PriceOverride

_PUT = (
    "INSERT INTO prices (model, input_usd, output_usd, cached_input_usd, set_by, updated_at) VALUES"
    " (:model, :input, :output, :cached, :by, :now) ON CONFLICT (model) DO UPDATE SET"
    " input_usd = excluded.input_usd, output_usd = excluded.output_usd,"
    " cached_input_usd = excluded.cached_input_usd, set_by = excluded.set_by,"
    " updated_at = excluded.updated_at"
)


class SqlPriceBook:
    """Prices on record. Source of every promise: `domain.pricing.PriceBook`."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def put_price(self, model: str, price: PriceOverride, by: str) -> None:
        """Set what a model costs."""
        values = {
            "model": model,
            "input": f"{price.input_usd:f}",
            "output": f"{price.output_usd:f}",
            "cached": f"{price.cached_input_usd:f}",
            "by": by,
            "now": self._clock.now_ms(),
        }
        await self._engine.write(lambda tx: tx.run(_PUT, **values))

    async def delete_price(self, model: str) -> None:
        """Forget what was said of a model."""
        await self._engine.write(lambda tx: _delete(tx, model))

    async def list_prices(self) -> Mapping[str, PriceOverride]:
        """Return what was said, by model."""
        return await self._engine.read(read_prices)


def _delete(tx: Tx, model: str) -> None:
    if not tx.run("DELETE FROM prices WHERE model = :model", model=model):
        raise NotFoundError(f"no price was set for {model}")


def read_prices(tx: Tx) -> dict[str, PriceOverride]:
    """Return what was said, by model."""
    return {
        row["model"]: PriceOverride(
            Decimal(row["input_usd"]), Decimal(row["output_usd"]), Decimal(row["cached_input_usd"])
        )
        for row in tx.all("SELECT * FROM prices")
    }
