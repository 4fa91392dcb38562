"""Going up: only where a wrong answer is likely enough for what the stronger one costs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.routing.cascade import Step, escalate, step_of
from domain.routing.grading import Graded, Verifier
from domain.routing.verifying import Flaw, Verdict
from domain.run import RunSpec
from domain.tiers import Cascade, Level, ModelTier

PASSED = Verdict(None, "fine")
DOUBT = Verdict(Flaw.LOW_CONFIDENCE, "it doubts")
BROKEN = Verdict(Flaw.SCHEMA, "no JSON")
STEP = Step(ModelTier.SIMPLE, ModelTier.COMPLEX, quality=0.65, next_quality=0.8, next_cost=1.0)


def useless(task_class: str = "x") -> Verifier:
    verifier = Verifier()
    for number in range(100):
        verifier = verifier.after(task_class, is_good=number % 2 == 0, passed=number % 3 > 0)
    return verifier


def test_a_flaw_goes_up_and_a_good_answer_stays() -> None:
    up, stay = escalate(STEP, DOUBT, Verifier()), escalate(STEP, PASSED, Verifier())

    assert (up.tier, up.reason) == (ModelTier.COMPLEX, "it doubts")
    assert stay.tier is None
    assert "good enough" in stay.reason
    assert up.wrong == pytest.approx(0.35 * 0.7 / (0.35 * 0.7 + 0.65 * 0.1))


def test_what_costs_more_than_it_brings_is_left() -> None:
    assert escalate(replace(STEP, next_cost=5.0), DOUBT, Verifier()).tier is None
    assert escalate(replace(STEP, next_quality=0.1), DOUBT, Verifier()).tier is None


def test_where_a_wrong_answer_is_very_likely_even_a_pass_goes_up() -> None:
    assert escalate(replace(STEP, quality=0.1), PASSED, Verifier()).tier is ModelTier.COMPLEX


def test_at_the_top_there_is_nothing_to_go_up_to() -> None:
    top = replace(STEP, tier=ModelTier.CRITICAL, next_tier=None)

    assert escalate(top, BROKEN, Verifier()).reason == "there is no tier above critical"


def test_a_look_that_errs_too_often_is_turned_off_for_its_class() -> None:
    bad = useless()

    off = escalate(replace(STEP, task_class="x"), DOUBT, bad)
    nameless = escalate(STEP, DOUBT, useless(""))

    assert not bad.graded("x").is_trusted
    assert off.reason == "the look at answers is off for x: it errs too often"
    assert "this class" in nameless.reason
    assert escalate(replace(STEP, task_class="y"), DOUBT, bad).tier is ModelTier.COMPLEX


def test_a_broken_answer_goes_up_though_the_look_is_off() -> None:
    up = escalate(replace(STEP, task_class="x"), BROKEN, useless())

    assert up.tier is ModelTier.COMPLEX
    assert up.wrong == 1.0


def test_grades_move_the_figures_from_what_was_assumed() -> None:
    graded = Graded()
    for _ in range(50):
        graded = graded.after(is_good=True, passed=True).after(is_good=False, passed=False)

    assert graded.passes_good > Graded().passes_good
    assert graded.passes_bad < Graded().passes_bad
    assert graded.is_trusted
    assert Verifier.model_validate_json(useless().model_dump_json()) == useless()


def test_going_up_is_put_on_record_with_its_sum() -> None:
    route = escalate(STEP, DOUBT, Verifier()).as_route(STEP)
    stayed = escalate(STEP, PASSED, Verifier()).as_route(STEP)

    assert route["kind"] == "escalation"
    assert route["tier"] == "complex"
    assert set(route["scores"]) == {"wrong", "gain", "price"}  # type: ignore[call-overload]
    assert stayed["tier"] == "simple"


CLIMBING = RunSpec(
    models=("a/small", "b/small", "a/big", "x/own"),
    rungs=(2, 3),
    cascade=Cascade(
        levels=(
            Level(place=0, tier=ModelTier.SIMPLE, quality=0.6, cost=0.1),
            Level(place=2, tier=ModelTier.COMPLEX, quality=0.8, cost=1.0),
        ),
        task_class="math",
    ),
)


@pytest.mark.parametrize("model", ["a/small", "b/small"])
def test_every_model_of_a_tier_has_the_next_tier_above_it(model: str) -> None:
    step = step_of(CLIMBING, model)

    assert step == Step(ModelTier.SIMPLE, ModelTier.COMPLEX, 0.6, 0.8, 1.0, "math")


@pytest.mark.parametrize("model", ["a/big", "x/own", "c/other"])
def test_where_nothing_is_known_of_what_is_above_there_is_no_sum(model: str) -> None:
    assert step_of(CLIMBING, model) is None


def test_a_snapshot_of_before_has_no_sum() -> None:
    before = RunSpec.model_validate_json('{"models": ["a/small", "a/big"], "rungs": [1]}')

    assert before.cascade is None
    assert step_of(before, "a/small") is None


def test_what_a_run_takes_along_is_read_back_the_same() -> None:
    assert RunSpec.model_validate_json(CLIMBING.model_dump_json()) == CLIMBING


def test_a_run_knows_of_the_look_what_was_known_of_its_class() -> None:
    cascade = Cascade(task_class="x", graded=useless().graded("x"))

    assert not cascade.verifier.graded("x").is_trusted
    assert cascade.verifier.graded("y").is_trusted


@given(st.floats(0.01, 0.99), st.floats(0, 1), st.floats(0, 3))
def test_a_flaw_never_makes_staying_more_likely(quality: float, after: float, cost: float) -> None:
    step = replace(STEP, quality=quality, next_quality=after, next_cost=cost)

    stays = escalate(step, DOUBT, Verifier()).tier is None

    assert not stays or escalate(step, PASSED, Verifier()).tier is None
