"""What a lesson changes in memory, and that nothing is lost on the way to the store and back."""

from dataclasses import replace
from typing import Any

import pytest

from domain.choosing.weights import CRITERIA
from domain.learning.lessons import ENDED, RATED, of_end, of_rating, utility
from domain.learning.memory import Memory
from domain.routing.grading import Graded, Verifier
from domain.run import RunState
from domain.tiers import ModelTier
from tests.unit.domain.learning.scenes import facts

HALF = dict.fromkeys(CRITERIA, 0.5)
TIERED = facts(tier=ModelTier.SIMPLE, predicted=0.6, criteria=HALF, cost_usd=0.02)


def test_silence_teaches_next_to_nothing_and_a_rating_most() -> None:
    ended, rated = of_end(facts()), of_rating(facts(), 1.0, "ann")

    assert ended is not None
    assert (ended.quality, ended.weight, ended.is_label) == (1.0, ENDED, False)
    assert (rated.quality, rated.weight, rated.is_good) == (1.0, RATED, True)


@pytest.mark.parametrize(
    ("state", "code", "quality"),
    [
        (RunState.FAILED, "agent_error", 0.0),
        (RunState.FAILED, "limit_reached", 0.0),
        (RunState.FAILED, "budget_exhausted", None),
        (RunState.FAILED, "engine_state_lost", None),
        (RunState.CANCELLED, None, None),
        (RunState.RUNNING, None, None),
    ],
)
def test_only_ends_that_are_the_agents_doing_count(
    state: RunState, code: str | None, quality: float | None
) -> None:
    lesson = of_end(facts(state=state, error_code=code))

    assert (None if lesson is None else lesson.quality) == quality


def test_cost_lowers_what_a_run_was_worth() -> None:
    assert utility(1.0, None, 1.0) == utility(1.0, 5.0, 0.0) == 1.0
    assert utility(1.0, 0.5, 1.0) > utility(1.0, 1.0, 1.0) == utility(1.0, 9.0, 1.0)
    assert utility(0.0, 9.0, 1.0) == 0.0


def test_a_good_rating_teaches_everything() -> None:
    memory = Memory().after(of_rating(TIERED, 1.0, "ann"))

    known = memory.known
    assert memory.words["cook"].labels == 1
    assert known.performance.quality("cook", "question") > 0.5
    assert known.preferences.preference("ann", "cook", 0.5) > 0.5
    assert known.contexts.agents["cook"]
    assert known.weights.outcomes == 1
    assert memory.tiers.labelled == 1


def test_a_rating_is_of_the_tier_that_answered_and_a_broken_answer_needs_none() -> None:
    answered = replace(TIERED, tier=ModelTier.MEDIUM, broken=((ModelTier.SIMPLE, 0.6),))
    memory = Memory().after(of_rating(answered, 1.0, "ann"))
    nobody = Memory().after(of_rating(replace(TIERED, tier=None), 1.0, "ann"))

    tallies = memory.tiers.tallies["question"]
    assert {tier: (tally.runs, tally.quality) for tier, tally in tallies.items()} == {
        ModelTier.SIMPLE: (1.0, 0.0),
        ModelTier.MEDIUM: (1.0, 1.0),
    }
    assert nobody.tiers.labelled == 0


@pytest.mark.parametrize(
    ("seen", "rating", "graded"),
    [
        ({"passed": True}, 1.0, Graded(good=1, good_passed=1)),
        ({"passed": True}, -1.0, Graded(bad=1, bad_passed=1)),
        ({"passed": False}, 1.0, Graded(good=1)),
        ({"passed": False}, -1.0, Graded(bad=1)),
        ({"passed": None}, 1.0, Graded()),
        ({"passed": True, "task_class": None}, 1.0, Graded()),
    ],
)
def test_a_rating_grades_the_look_at_the_answer(
    seen: dict[str, Any], rating: float, graded: Graded
) -> None:
    memory = Memory().after(of_rating(replace(TIERED, **seen), rating, "ann"))

    assert memory.verifier.graded("question") == graded
    assert Memory().with_parts(memory.changed(Memory())).verifier == memory.verifier


def test_a_run_that_merely_ended_grades_no_look() -> None:
    lesson = of_end(replace(TIERED, passed=True))
    assert lesson is not None

    assert Memory().after(lesson).verifier == Verifier()


def test_a_bad_rating_is_no_label_for_words() -> None:
    memory = Memory().after(of_rating(TIERED, -1.0, "ann"))

    assert memory.words == {}
    assert memory.known.contexts.agents == {}
    assert memory.known.performance.quality("cook", "question") < 0.5
    assert memory.known.preferences.preference("ann", "cook", 0.5) < 0.5
    assert memory.known.weights.outcomes == memory.tiers.labelled == 1


def test_an_end_moves_performance_a_little_and_nothing_else() -> None:
    lesson = of_end(TIERED)
    assert lesson is not None

    memory = Memory().after(lesson)

    assert 0.5 < memory.known.performance.quality("cook", "question") < 0.54
    assert set(memory.changed(Memory())) == {"performance"}


def test_a_run_without_an_agent_or_a_choice_teaches_what_it_can() -> None:
    assert Memory().after(of_rating(facts(agent_id=None), 1.0, "ann")) == Memory()

    plain = Memory().after(of_rating(facts(task_class=None), 1.0, "ann"))

    assert plain.tiers.labelled == plain.known.weights.outcomes == 0
    assert plain.words["cook"].labels == 1


def test_memory_is_stored_by_parts_and_read_back_the_same() -> None:
    memory = Memory().after(of_rating(TIERED, 1.0, "ann"))

    stored = memory.changed(Memory())

    assert set(stored) == {
        *("words:cook", "performance", "preferences", "contexts", "weights", "tiers"),
    }
    assert Memory().with_parts(stored) == memory
    assert memory.changed(memory) == {}
    assert "cake" not in "".join(stored.values())


def test_a_part_that_cannot_be_read_is_forgotten_alone() -> None:
    stored = Memory().after(of_rating(TIERED, 1.0, "ann")).changed(Memory())

    memory = Memory().with_parts({**stored, "weights": "{", "words:cook": '{"labels": "x"}'})

    assert memory.known.weights.outcomes == 0
    assert memory.words["cook"].labels == 0
    assert memory.tiers.labelled == 1


def test_parts_that_were_not_read_again_stay() -> None:
    memory = Memory().after(of_rating(TIERED, 1.0, "ann"))
    other = Memory().after(of_rating(replace(TIERED, agent_id="guide"), 1.0, "ann"))

    both = memory.with_parts({"words:guide": other.changed(Memory())["words:guide"]})

    assert set(both.words) == {"cook", "guide"}
    assert both.known == memory.known
