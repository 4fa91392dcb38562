"""What is learned of agents: how their runs went, who likes them, in which talks they did well."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.choosing import contexts, performance, preferences
from domain.choosing.contexts import Contexts
from domain.choosing.performance import HALF_LIFE_RUNS, Cell, Performance
from domain.choosing.preferences import Preferences


def test_of_whom_nothing_is_known_half_is_expected() -> None:
    known = Performance()

    assert known.quality("a", "x") == 0.5
    assert known.cost("a", "x") == 0.0
    assert known.reference == 0.0


def test_a_failure_lowers_and_a_success_raises_what_is_expected() -> None:
    up, down = Performance().after("a", "x", 1.0), Performance().after("a", "x", 0.0)

    assert up.quality("a", "x") > 0.5 > down.quality("a", "x")


def test_one_class_tells_a_little_of_another_and_nothing_is_certain() -> None:
    known = Performance()
    for _ in range(20):
        known = known.after("a", "x", 1.0)

    assert 0.5 < known.quality("b", "x") < known.quality("a", "y") < known.quality("a", "x") < 1


def test_runs_fade_by_half_in_five_hundred() -> None:
    cell = Cell(runs=1.0, total=1.0)
    for _ in range(HALF_LIFE_RUNS):
        cell = cell.after(0.0, None)

    assert cell.total == pytest.approx(0.5)


def test_costs_are_compared_with_a_high_recent_one() -> None:
    known = Performance()
    for cost in (0.01,) * 18 + (1.0,) * 2:
        known = known.after("cheap" if cost < 1 else "dear", "x", 1.0, cost)

    assert known.reference == 1.0
    assert known.cost("cheap", "x") < known.cost("new", "x") < known.cost("dear", "x")


def test_classes_of_an_agent_are_bounded_and_the_oldest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound is made small, so that the test is."""
    monkeypatch.setattr(performance, "MOST_CLASSES", 2)
    known = Performance()
    for name in ("x", "y", "x", "z"):
        known = known.after("a", name, 1.0)

    assert set(known.cells["a"]) == {"x", "z"}


def test_performance_survives_being_stored() -> None:
    known = Performance().after("a", "x", 0.7, 0.2)

    assert Performance.model_validate_json(known.model_dump_json()) == known


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.floats(-1, 2))))
def test_expectations_stay_between_nothing_and_all(runs: list[tuple[str, str, float]]) -> None:
    known = Performance()
    for agent_id, task_class, utility in runs:
        known = known.after(agent_id, task_class, utility)

    assert 0.0 < known.quality("a", "x") < 1.0


def test_a_user_is_asked_before_everybody() -> None:
    known = Preferences().after("ann", "a", 1.0).after("bob", "a", -1.0)

    assert known.preference("ann", "a", 0.5) == pytest.approx(2 / 3)
    assert known.preference("bob", "a", 0.5) == pytest.approx(1 / 3)
    assert known.preference("eve", "a", 0.4) == 0.4


def test_users_and_their_agents_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bounds are made small, so that the test is."""
    monkeypatch.setattr(preferences, "MOST_USERS", 2)
    monkeypatch.setattr(preferences, "_MOST_AGENTS", 2)
    known = Preferences()
    for user, agent_id in (("a", "x"), ("b", "x"), ("a", "y"), ("c", "x"), ("a", "z")):
        known = known.after(user, agent_id, 1.0)

    assert {user: list(rated) for user, rated in known.users.items()} == {
        "c": ["x"],
        "a": ["y", "z"],
    }


def test_talks_that_went_well_are_recognised() -> None:
    known = Contexts().after("guide", ("a hotel by the sea",)).after("cook", ("a cake",))

    likeness = known.likeness(("that hotel", "near the sea"), ("guide", "cook", "new"))

    assert likeness == {"guide": 1.0, "cook": 0.0, "new": 0.0}
    assert "hotel" not in known.model_dump_json()


def test_only_the_last_talks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Contexts()
    for number in range(contexts.KEPT + 3):
        known = known.after("a", (f"word{number}",))

    assert len(known.agents["a"]) == contexts.KEPT
    assert known.likeness(("word0",), ("a",)) == {"a": 0.0}
