"""Money as an exact integer of picodollars (1e-12 USD), and as the decimal string users see."""

from decimal import Decimal

PICO_PER_USD = 10**12


def to_pico(usd: Decimal | str) -> int:
    """Return `usd` in picodollars, rounded up so that a ledger is never below the bill."""
    scaled = Decimal(usd) * PICO_PER_USD
    whole = int(scaled)
    return whole + 1 if scaled > whole else whole


def to_usd(pico: int) -> str:
    """Return picodollars as a plain decimal string without a trailing zero: `0.0125`."""
    text = f"{Decimal(pico) / PICO_PER_USD:.12f}".rstrip("0").rstrip(".")
    return text or "0"
