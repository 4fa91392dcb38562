"""Model calls that are no step of a run: opened before the provider is asked, billed after.

The same ledger, caps, breakers and rate limits as those of steps. A call that is never closed is
billed at what was held for it once its time is over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.bounds import PriceOverride
from domain.step import CallBill

__all__ = [
    "NO_RULES",
    "BreakerRules",
    "CallBook",
    "ModelHealth",
    "ModelHealthBook",
    "NewCall",
    "OpenedCall",
    "PriceOverride",
    "SpendingRules",
]


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a model is left alone. Source: seed A, model health."""

    failures: int = 3
    """Failures in a row that open the circuit; 0 for never."""
    cooldown_ms: int = 60_000
    """How long it stays open; then one call tries."""


@dataclass(frozen=True, slots=True)
class SpendingRules:
    """What the operator says of providers.

    `per_minute` holds rates by bucket: `openai:requests`, `openai/gpt-x:tokens`.
    """

    breaker: BreakerRules = BreakerRules()
    per_minute: Mapping[str, int] = field(default_factory=dict)


NO_RULES = SpendingRules()


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """How a model does. Times are milliseconds since the epoch.

    `state` is `healthy`, `degraded` or `unknown` (nothing was ever noted); `circuit` is `closed`,
    `open` or `half_open`.
    """

    model: str
    state: str = "unknown"
    circuit: str = "closed"
    failures: int = 0
    error_class: str | None = None
    error_message: str | None = None
    open_until: int | None = None
    blocked_until: int | None = None
    last_ok_at: int | None = None
    last_failed_at: int | None = None


class ModelHealthBook(Protocol):
    """What is on record of how models do."""

    async def model_health(self) -> Sequence[ModelHealth]:
        """Return every model of which anything was noted, by name."""
        ...


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
    route: dict[str, Any] | None = None
    """Why the model was chosen, where there was a choice: told in the log of the run."""


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
