"""Money is exact, and never rounded in our favour."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.money import to_pico, to_usd


@given(st.integers(min_value=0, max_value=10**18))
def test_money_survives_its_own_spelling(pico: int) -> None:
    assert to_pico(to_usd(pico)) == pico


def test_a_fraction_of_a_picodollar_is_rounded_up() -> None:
    assert to_pico(Decimal("0.0000000000001")) == 1
    assert to_pico("0.000000000001") == 1


def test_money_is_shown_without_trailing_zeros() -> None:
    assert [to_usd(0), to_usd(10**12), to_usd(1_250_000_000)] == ["0", "1", "0.00125"]
