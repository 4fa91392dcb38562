"""What each criterion counts for: equal at first, moved by outcomes, never far or to nothing."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.choosing.weights import CRITERIA, EQUAL, LEAST, REFIT_EVERY, Weights


def taught(rule: str, outcomes: int = 1000) -> Weights:
    """Return weights after outcomes that only the criterion `rule` foretells."""
    chance, weights = Random(1), Weights()
    for _ in range(outcomes):
        scores = {name: chance.random() for name in CRITERIA}
        weights = weights.after(scores, scores[rule])
    return weights


def test_weights_are_equal_at_first() -> None:
    assert set(Weights().named().values()) == {EQUAL}
    assert Weights().total(dict.fromkeys(CRITERIA, 0.5)) == pytest.approx(0.5)


def test_nothing_changes_before_the_hundredth_outcome() -> None:
    before, after = taught(CRITERIA[0], REFIT_EVERY - 1), taught(CRITERIA[0], REFIT_EVERY)

    assert before.values == Weights().values != after.values


def test_the_criterion_that_foretells_outcomes_comes_to_count_most() -> None:
    weights = taught("cost_efficiency").named()

    assert max(weights, key=lambda name: weights[name]) == "cost_efficiency"
    assert weights["cost_efficiency"] > 0.7
    assert LEAST * 0.8 < min(weights.values()) < 0.05


def test_a_few_outcomes_move_little() -> None:
    weights = taught("cost_efficiency", REFIT_EVERY).named()

    assert EQUAL < weights["cost_efficiency"] < 0.5


def test_weights_survive_being_stored() -> None:
    weights = taught("specialty_match", 150)

    assert Weights.model_validate_json(weights.model_dump_json()) == weights


@given(st.integers(0, 10**9), st.sampled_from([0.0, 0.5, 1.0]))
@settings(max_examples=20)
def test_weights_stay_positive_and_add_up_to_one(seed: int, share: float) -> None:
    chance, weights = Random(seed), Weights()
    for _ in range(REFIT_EVERY):
        scores = {name: float(chance.random() < share) for name in CRITERIA}
        weights = weights.after(scores, chance.random())

    assert sum(weights.values) == pytest.approx(1.0)
    assert min(weights.values) > 0
