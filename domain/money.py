"""Money as an exact integer of picodollars (1e-12 USD), and as the decimal string users see."""

import re
from decimal import Decimal

from domain.errors import InvalidRequestError

PICO_PER_USD = 10**12
_AMOUNT = re.compile(r"\d{1,6}(\.\d{1,12})?")


MOST_PICO = 10**18
"""A million USD: no call is taken to cost more, so that the sums of many fit the store."""


def to_pico(usd: Decimal | str) -> int:
    """Return `usd` in picodollars, rounded up so that a ledger is never below the bill."""
    scaled = Decimal(usd) * PICO_PER_USD
    whole = int(scaled)
    return whole + 1 if scaled > whole else whole


def read_usd(value: object, field: str) -> str:
    """Return an amount that somebody sent, as the decimal string it is.

    Raises:
        InvalidRequestError: it is none, or a million dollars or more; names `field`.
    """
    if not isinstance(value, str) or not _AMOUNT.fullmatch(value):
        raise InvalidRequestError(
            'an amount is a decimal string in USD below a million: "12.50"', field=field
        )
    return value


def to_usd(pico: int) -> str:
    """Return picodollars as a plain decimal string without a trailing zero: `0.0125`."""
    text = f"{Decimal(pico) / PICO_PER_USD:.12f}".rstrip("0").rstrip(".")
    return text or "0"
