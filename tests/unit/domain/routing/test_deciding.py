"""The tier of a request: complexity first, outcomes when they are sure, sessions only upwards."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.routing import outcomes
from domain.routing.complexity import Complexity, Level
from domain.routing.deciding import (
    EXPLORED,
    SESSION_IDLE_MS,
    TierAsk,
    above_floor,
    decide,
    session_floor,
)
from domain.routing.ladder import CHOSEN, LADDER, rank
from domain.routing.outcomes import OUTCOMES_PER_CLASS, Estimate, Outcomes, Tally, better
from domain.tiers import ModelTier

EASY = Complexity(0.2, Level.LOW, weak=0.9, strong=0.92)
MIDDLE = Complexity(0.6, Level.MEDIUM, weak=0.6, strong=0.8)
HARD = Complexity(0.9, Level.HIGH, weak=0.3, strong=0.7, parts={"numbers": 0.1})
COSTS = {
    ModelTier.SIMPLE: 0.05,
    ModelTier.MEDIUM: 0.3,
    ModelTier.COMPLEX: 1.0,
    ModelTier.CRITICAL: 2.0,
}


def seen(
    tier: ModelTier, quality: float, times: int, predicted: float, name: str = "math"
) -> Outcomes:
    known = Outcomes()
    for _ in range(times):
        known = known.after(name, tier, quality, predicted)
    return known


@pytest.mark.parametrize(
    ("complexity", "tier"),
    [(EASY, ModelTier.SIMPLE), (MIDDLE, ModelTier.MEDIUM), (HARD, ModelTier.COMPLEX)],
)
def test_without_outcomes_complexity_decides(complexity: Complexity, tier: ModelTier) -> None:
    decision = decide(TierAsk(complexity, "math", COSTS), Outcomes())

    assert decision.tier is tier
    assert set(decision.scores) == set(CHOSEN)


def test_a_decision_shows_what_it_was_weighed_by() -> None:
    route = decide(TierAsk(HARD, "math", COSTS), Outcomes()).as_route()

    assert route == {
        "kind": "tier",
        "tier": "complex",
        "reason": "complex is right for this high complexity",
        "scores": {"simple": 0.2925, "medium": 0.455, "complex": 0.55},
        "qualities": {"simple": 0.3, "medium": 0.5, "complex": 0.7},
        "complexity": 0.9,
        "parts": {"numbers": 0.1},
        "task_class": "math",
        "explored": False,
        "propensity": 1.0,
    }


def test_a_tier_that_surely_does_better_takes_over() -> None:
    known = seen(ModelTier.SIMPLE, 1.0, 300, HARD.weak)

    decision = decide(TierAsk(HARD, "math", COSTS), known)

    assert decision.tier is ModelTier.SIMPLE
    assert "better than complex with probability" in decision.reason


def test_a_few_outcomes_do_not_leave_the_default() -> None:
    known = seen(ModelTier.SIMPLE, 1.0, 3, HARD.weak)

    decision = decide(TierAsk(MIDDLE, "math", COSTS, default=ModelTier.COMPLEX), known)

    assert decision.tier is ModelTier.COMPLEX
    assert "not surely better" in decision.reason
    assert decision.reason.startswith("complex is the default")


def test_within_a_session_the_tier_only_goes_up() -> None:
    up = decide(TierAsk(EASY, floor=ModelTier.COMPLEX), Outcomes())
    on = decide(TierAsk(HARD, floor=ModelTier.SIMPLE), Outcomes())
    top = decide(TierAsk(EASY, floor=ModelTier.CRITICAL), Outcomes(), luck=0.0)

    assert (up.tier, up.reason) == (ModelTier.COMPLEX, "the session has reached complex")
    assert on.tier is ModelTier.COMPLEX
    assert (top.tier, top.explored) == (ModelTier.CRITICAL, False)


@pytest.mark.parametrize(
    ("floor", "served", "tier"),
    [
        (ModelTier.MEDIUM, (ModelTier.SIMPLE, ModelTier.COMPLEX), ModelTier.COMPLEX),
        (ModelTier.CRITICAL, (ModelTier.SIMPLE, ModelTier.MEDIUM), ModelTier.MEDIUM),
        (ModelTier.COMPLEX, (ModelTier.SIMPLE, ModelTier.CRITICAL), ModelTier.CRITICAL),
        (ModelTier.SIMPLE, (ModelTier.SIMPLE, ModelTier.COMPLEX), ModelTier.SIMPLE),
    ],
)
def test_a_floor_without_models_is_the_next_tier_that_has_some(
    floor: ModelTier, served: tuple[ModelTier, ...], tier: ModelTier
) -> None:
    decision = decide(TierAsk(EASY, served=served, floor=floor), Outcomes())

    assert decision.tier is tier


def test_where_no_tier_has_models_a_floor_is_itself() -> None:
    assert above_floor(ModelTier.SIMPLE, ModelTier.COMPLEX, ()) is ModelTier.COMPLEX


def test_a_day_of_silence_lets_a_session_start_anew() -> None:
    assert session_floor(ModelTier.COMPLEX, SESSION_IDLE_MS - 1) is ModelTier.COMPLEX
    assert session_floor(ModelTier.COMPLEX, SESSION_IDLE_MS) is None
    assert session_floor(None, 0) is None


def test_chance_tries_the_next_stronger_tier() -> None:
    tried = decide(TierAsk(EASY), Outcomes(), luck=0.0)
    usual = decide(TierAsk(EASY), Outcomes(), luck=EXPLORED)
    never = decide(TierAsk(EASY, may_explore=False), Outcomes(), luck=0.0)

    assert (tried.tier, tried.explored, tried.propensity) == (ModelTier.MEDIUM, True, EXPLORED)
    assert tried.reason == "medium is tried out; simple came first"
    assert (usual.tier, usual.explored, usual.propensity) == (ModelTier.SIMPLE, False, 1 - EXPLORED)
    assert (never.tier, never.propensity) == (ModelTier.SIMPLE, 1.0)
    assert EXPLORED <= 0.10


@pytest.mark.parametrize(
    ("served", "tier"),
    [
        ((ModelTier.COMPLEX,), ModelTier.COMPLEX),
        ((ModelTier.SIMPLE,), ModelTier.SIMPLE),
        ((ModelTier.CRITICAL,), ModelTier.CRITICAL),
        ((), ModelTier.COMPLEX),
    ],
)
def test_only_tiers_with_models_are_chosen(served: tuple[ModelTier, ...], tier: ModelTier) -> None:
    assert decide(TierAsk(HARD, served=served), Outcomes()).tier is tier


def test_a_class_needs_a_hundred_outcomes_of_its_own() -> None:
    few = seen(ModelTier.SIMPLE, 0.0, OUTCOMES_PER_CLASS - 1, 0.9)
    enough = few.after("math", ModelTier.SIMPLE, 0.0, 0.9)

    assert few.own_classes == frozenset()
    assert enough.own_classes == {"math"}
    assert enough.estimate("math", ModelTier.SIMPLE, 0.9).mean < 0.1
    assert enough.estimate("other", ModelTier.SIMPLE, 0.9).strength < few.labelled


def test_the_largest_classes_stand_alone_first() -> None:
    known = seen(ModelTier.SIMPLE, 1.0, 120, 0.5)
    for _ in range(30):
        known = known.after("code", ModelTier.MEDIUM, 0.0, 0.5)

    assert known.own_classes == {"math"}


def test_outcomes_survive_being_stored_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is made small, so that the test is."""
    monkeypatch.setattr(outcomes, "MOST_CLASSES", 2)
    known = Outcomes()
    for name in ("a", "b", "a", "c"):
        known = known.after(name, ModelTier.SIMPLE, 1.0, 0.5)

    assert set(known.tallies) == {"a", "c"}
    assert Outcomes.model_validate_json(known.model_dump_json()) == known


def test_the_surer_of_two_estimates_is_better_more_surely() -> None:
    weak = Estimate(mean=0.5, strength=10)

    assert better(weak, weak) == pytest.approx(0.5)
    assert better(Estimate(mean=0.6, strength=1000), weak) > better(
        Estimate(mean=0.6, strength=10), weak
    )
    assert Tally().surprise(0.2) == pytest.approx(0.2)


@given(
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from(LADDER) | st.none(),
    st.floats(0, 1, exclude_max=True),
    st.lists(st.tuples(st.sampled_from(LADDER), st.floats(0, 1)), max_size=20),
)
def test_a_decision_is_served_not_below_the_floor_and_the_same_again(
    weak: float,
    strong: float,
    floor: ModelTier | None,
    luck: float,
    learned: list[tuple[ModelTier, float]],
) -> None:
    known = Outcomes()
    for tier, quality in learned:
        known = known.after("x", tier, quality, 0.5)
    ask = replace(TierAsk(Complexity(0.5, Level.MEDIUM, weak, strong), "x", COSTS), floor=floor)

    decision = decide(ask, known, luck)

    assert rank(decision.tier) >= (rank(floor) if floor else 0)
    assert decision == decide(ask, known, luck)
    assert 0 < decision.propensity <= 1
