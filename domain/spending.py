"""Model calls that are no step of a run: opened before the provider is asked, billed after.

The same ledger, caps, breakers and rate limits as those of steps. A call that is never closed is
billed at what was held for it once its time is over.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from domain.step import CallBill


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call about to be made.

    `input_tokens` and `output_tokens` are upper bounds: the bytes of the request, and the
    `max_tokens` it is sent with. `pico` is what they cost at most, None while unpriced.
    `run_id` ties the call to a run of the owner: its caps, its ledger, its log.
    """

    call_id: str
    owner: str
    key_id: str | None
    run_id: str | None
    model: str
    input_tokens: int
    output_tokens: int
    pico: int | None
    max_seconds: float


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """Prices that somebody set for a model, USD per million tokens."""

    input_usd: Decimal
    output_usd: Decimal
    cached_input_usd: Decimal


@dataclass(frozen=True, slots=True)
class OpenedCall:
    """The call may be made; it is billed by `price` where one was set over the API."""

    price: PriceOverride | None = None


class CallBook(Protocol):
    """Calls that are no steps, on record."""

    async def open_call(self, call: NewCall) -> OpenedCall:
        """Hold what a call may cost at most.

        Raises:
            BudgetExhaustedError: a cap does not cover it.
            PriceUnknownError: a cap in money counts and the model has no known price.
            CircuitOpenError: the model keeps failing; ask another, or later.
            ModelRateLimitedError: the provider's rate, as configured or told, is used up.
            NotFoundError, RunTerminalError: the run is not there, or has ended.
        """
        ...

    async def close_call(self, call_id: str, bill: CallBill) -> None:
        """Enter what a call used and free what was held; again changes nothing."""
        ...
