"""The ladder of tiers: what stands on it, what is above, and the chain of a run that may climb."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.routing.ladder import LADDER, Climb, Ladder, higher, rank
from domain.tiers import ModelTier

SIMPLE, MEDIUM, COMPLEX, CRITICAL = LADDER
STEPS = Ladder({SIMPLE: ("a/small",), COMPLEX: ("a/big", "b/big")}, ("c/usual",))


def test_a_tier_without_models_has_the_usual_ones() -> None:
    assert STEPS.chain(SIMPLE) == ("a/small",)
    assert STEPS.chain(MEDIUM) == ("c/usual",)
    assert STEPS.served() == (SIMPLE, COMPLEX)


def test_above_is_the_next_tier_that_has_other_models() -> None:
    same = Ladder({SIMPLE: ("x",), MEDIUM: ("x",), CRITICAL: ("y",)})

    assert STEPS.above(SIMPLE) is COMPLEX
    assert STEPS.above(COMPLEX) is None
    assert same.above(SIMPLE) is CRITICAL


@pytest.mark.parametrize(
    ("tier", "climb"),
    [
        (SIMPLE, Climb(("a/small", "a/big", "b/big"), (1,), (SIMPLE, COMPLEX))),
        (MEDIUM, Climb(("c/usual", "a/big", "b/big"), (1,), (MEDIUM, COMPLEX))),
        (COMPLEX, Climb(("a/big", "b/big"), (), (COMPLEX,))),
        (CRITICAL, Climb(("c/usual",), (), (CRITICAL,))),
    ],
)
def test_a_climb_holds_the_higher_tiers_and_where_they_begin(tier: ModelTier, climb: Climb) -> None:
    assert STEPS.climb(tier) == climb


def test_a_climb_holds_each_model_once() -> None:
    ladder = Ladder({SIMPLE: ("x", "y"), MEDIUM: ("y",), COMPLEX: ("x", "z")})

    assert ladder.climb(SIMPLE) == Climb(("x", "y", "z"), (2,), (SIMPLE, COMPLEX))


@given(st.dictionaries(st.sampled_from(LADDER), st.lists(st.sampled_from("abcd"), min_size=1)))
def test_rungs_lie_within_the_climb_in_order(chains: dict[ModelTier, list[str]]) -> None:
    ladder = Ladder({tier: tuple(dict.fromkeys(each)) for tier, each in chains.items()}, ("u",))

    climb = ladder.climb(SIMPLE)

    assert len(set(climb.models)) == len(climb.models)
    assert list(climb.rungs) == sorted(set(climb.rungs))
    assert all(0 < rung < len(climb.models) for rung in climb.rungs)
    assert len(climb.tiers) == len(climb.rungs) + 1


@given(st.sampled_from(LADDER), st.sampled_from([None, *LADDER]))
def test_the_higher_of_two_is_one_of_them_and_not_lower(
    one: ModelTier, other: ModelTier | None
) -> None:
    found = higher(one, other)

    assert found in {one, other}
    assert rank(found) >= max(rank(one), rank(other) if other else 0)
