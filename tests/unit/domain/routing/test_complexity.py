"""The estimate of complexity: what it gives, what moves it, what it costs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.routing.complexity import SHOWN, Around, Complexity, Level, complexity_of
from domain.routing.fitted import heads, unpack
from domain.routing.ladder import LADDER
from domain.routing.reading import features, take_apart
from domain.tiers import ModelTier

HEAD = {"base": 0.0, "trees": [[0.5]]}


def test_the_fitted_model_knows_the_features_by_name() -> None:
    model = heads()

    assert model.features == tuple(features(take_apart("x")))
    assert len(model.gaps) == 100
    assert list(model.gaps) == sorted(model.gaps)
    assert heads() is model


def test_an_estimate_has_a_score_a_level_and_named_parts() -> None:
    found = complexity_of("Prove that the sum of 3 odd integers is odd, step 1: assume n = 2k + 1.")

    assert 0.0 <= found.score <= 1.0
    assert found.parts
    assert len(found.parts) <= SHOWN
    sizes = [abs(part) for part in found.parts.values()]
    assert sizes == sorted(sizes, reverse=True)


def test_tools_and_history_make_a_request_harder() -> None:
    plain = complexity_of("Find the cheapest flight")
    around = complexity_of("Find the cheapest flight", Around(tools=8, messages=30))

    assert around.score >= plain.score
    assert around.weak < plain.weak


def test_tools_and_history_make_an_exam_question_harder_where_it_hints_at_tools() -> None:
    asked = "Compute 3 + 4.\nA. 6\nB. 7\nAnswer:"
    plain = complexity_of(asked)
    around = complexity_of(asked, Around(tools=8, messages=30))

    assert around.score >= plain.score
    assert around.weak < plain.weak


@pytest.mark.parametrize(
    ("gaps", "level", "tier"),
    [
        ([0.0] * 10, Level.HIGH, ModelTier.COMPLEX),
        ([0.0] * 6 + [0.9] * 4, Level.MEDIUM, ModelTier.MEDIUM),
        ([0.9] * 10, Level.LOW, ModelTier.SIMPLE),
    ],
)
def test_the_level_is_the_place_among_recorded_requests(
    gaps: list[float], level: Level, tier: ModelTier
) -> None:
    weak = {**HEAD, "base": -0.1}
    model = unpack(
        {"features": [*features(take_apart("x"))], "gaps": gaps, "weak": weak, "strong": HEAD}
    )

    found = complexity_of("Which?\nA. one\nB. two\nAnswer:", model=model)

    assert (found.level, found.tier) == (level, tier)


def test_a_stronger_tier_is_expected_to_do_as_well_or_better() -> None:
    found = Complexity(0.5, Level.MEDIUM, weak=0.4, strong=0.8)

    assert [found.quality(tier) for tier in LADDER] == pytest.approx([0.4, 0.6, 0.8, 0.8])


@given(st.text(max_size=300), st.integers(0, 500), st.integers(0, 5000))
def test_every_request_has_an_estimate(text: str, tools: int, messages: int) -> None:
    found = complexity_of(text, Around(tools, messages))

    assert 0.0 <= found.score <= 1.0
    assert 0.0 < found.weak < 1.0
    assert 0.0 < found.strong < 1.0
    assert found == complexity_of(text, Around(tools, messages))
