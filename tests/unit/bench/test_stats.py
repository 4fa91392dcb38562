import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import Paired, percentile


def test_a_percentile_is_a_value_of_the_sample() -> None:
    values = [5.0, 1.0, 4.0, 2.0, 3.0]

    assert [percentile(values, share) for share in (0.5, 0.95, 0.01)] == [3.0, 5.0, 1.0]


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_at_least_that_share_does_not_exceed_it(values: list[float], share: float) -> None:
    found = percentile(values, share)

    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


def test_ratios_are_paired_by_round() -> None:
    """A machine that slows down between rounds changes both sides, not the ratio."""
    pair = Paired([10.0, 40.0, 20.0], [5.0, 20.0, 10.0])

    assert pair.ratios == [2.0, 2.0, 2.0]
    assert pair.ratio == 2.0


def test_medians_are_shown_with_their_unit() -> None:
    assert Paired([1.0, 2.0, 9.0], [1.0, 1.0, 1.0]).shown("ms") == ("2 ms", "1 ms")
