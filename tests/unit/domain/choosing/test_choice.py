"""The choice of an agent: who can, who fits, what happens in doubt, and what chance may do."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.choosing.asking import Ask, Candidate
from domain.choosing.cards import Card
from domain.choosing.choice import EXPLORED, LEAST_TOP, NEAR, SHOWN, Choice, choose
from domain.choosing.contexts import Contexts
from domain.choosing.criteria import Known, scores_of
from domain.choosing.performance import Performance
from domain.choosing.preferences import Preferences
from domain.choosing.specialty import Specialty
from domain.choosing.weights import CRITERIA

CARDS = [
    Card("cook", "Cook recipes for dinner, baking bread and cakes"),
    Card("tutor", "Tutor explains mathematics: algebra, geometry"),
    Card("guide", "Guide plans travel, hotels and flights"),
]
ASK = Ask("run_1", "find me a hotel")


def candidates(**changed: dict[str, Any]) -> list[Candidate]:
    return [replace(Candidate(card), **changed.get(card.agent_id, {})) for card in CARDS]


def chosen(
    ask: Ask = ASK,
    among: Sequence[Candidate] | None = None,
    known: Known | None = None,
    default: str | None = None,
    luck: float = 1.0,
) -> Choice:
    of = candidates() if among is None else among
    specialty = Specialty([each.card for each in of])
    choice = choose(ask, of, specialty, known or Known(), default, luck)
    assert choice is not None
    return choice


def criteria(ask: Ask = ASK, known: Known | None = None, **changed: Any) -> dict[str, float]:
    candidate = replace(Candidate(CARDS[2]), **changed)
    return scores_of(ask, [candidate], Specialty(CARDS[2:]), known or Known())["guide"]


def test_the_best_match_wins_and_every_score_is_shown() -> None:
    choice = chosen()

    assert choice.agent_id == "guide"
    assert choice.reason == "guide fits the request best"
    assert next(iter(choice.scores)) == "guide"
    assert set(choice.criteria["guide"]) == set(CRITERIA)
    assert set(choice.as_route()) == {
        *("kind", "agent_id", "reason", "scores", "criteria", "weights"),
        *("explored", "propensity"),
    }


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"is_healthy": False}, "it is not healthy"),
        ({"is_open": True}, "its circuit is open"),
        ({"is_reachable": False}, "no provider of its models is configured"),
        ({"is_quarantined": True}, "it is quarantined"),
        ({"can_pay": False}, "its budget does not cover the run"),
        ({"tools": frozenset()}, "it does not take search"),
        ({"attachments": frozenset()}, "it does not take image/png"),
        ({"takes_tools": False}, "it takes no client_tools"),
    ],
)
def test_an_agent_that_cannot_is_left_out_with_the_reason(
    changed: dict[str, Any], why: str
) -> None:
    able: dict[str, Any] = {
        "tools": frozenset({"search"}),
        "attachments": frozenset({"image/png"}),
    }
    among = candidates(cook=able, tutor=able, guide={**able, **changed})

    choice = chosen(replace(ASK, brings_tools=True, **able), among)

    assert choice.agent_id != "guide"
    assert choice.excluded == choice.as_route()["excluded"] == {"guide": why}


def test_where_nobody_can_there_is_no_choice() -> None:
    among = candidates(**{card.agent_id: {"is_open": True} for card in CARDS})

    assert choose(ASK, among, Specialty(CARDS), Known()) is None
    assert choose(ASK, [], Specialty([]), Known()) is None


def test_the_only_agent_is_the_choice() -> None:
    assert chosen(among=candidates()[:1]).reason == "cook is the only agent"


def test_a_pin_skips_scoring_as_long_as_the_agent_can() -> None:
    ask = replace(ASK, pinned="tutor")

    assert chosen(ask, luck=0.0).agent_id == "tutor"
    assert set(chosen(ask).as_route()) == {"kind", "agent_id", "reason", "scores"}
    assert chosen(ask, candidates(tutor={"is_healthy": False})).agent_id == "guide"


def test_a_pinned_agent_that_cannot_is_left_out_first_and_with_the_reason() -> None:
    ask = replace(ASK, pinned="tutor", tools=frozenset({"search"}))
    able: dict[str, Any] = {"tools": frozenset({"search"})}
    few = chosen(ask, candidates(guide=able), luck=0.0)
    many = [Candidate(Card(f"agent{number}", "x"), is_open=True) for number in range(SHOWN)]
    gone = chosen(replace(ASK, pinned="poet"), [*many, *candidates()], luck=0.0)

    assert few.agent_id == gone.agent_id == "guide"
    assert not few.explored
    assert few.as_route()["excluded"] == {
        "tutor": "it is pinned, but it does not take search",
        "cook": "it does not take search",
    }
    shown = gone.as_route()["excluded"]
    assert isinstance(shown, dict)
    assert next(iter(shown.items())) == (
        "poet",
        "it is pinned, but there is no such active agent",
    )


def test_in_doubt_the_generalist_does_the_work() -> None:
    unmatched = chosen(Ask("run_1", "xyzzy"), default="tutor")
    torn = chosen(Ask("run_1", "algebra recipes"), default="guide")

    assert unmatched.agent_id == "tutor"
    assert unmatched.reason == "no description matches the request; tutor is next"
    assert torn.agent_id == "guide"
    assert torn.reason == "no agent stands out; guide is next"


def liked(agent_id: str, times: int = 3) -> Known:
    performance, preferences = Performance(), Preferences()
    for _ in range(times):
        performance = performance.after(agent_id, "", 1.0, weight=0.9)
        preferences = preferences.after("ann", agent_id, 1.0)
    return Known(performance=performance, preferences=preferences)


@pytest.mark.parametrize("labels", [0, 1, 400])
def test_who_is_liked_is_in_doubt_where_the_request_says_nothing_for_it(labels: int) -> None:
    specialty = Specialty(CARDS)
    for number in range(labels):
        specialty.learn(CARDS[number % 3].agent_id if labels > 1 else "tutor", "12*7")
    ask = Ask("run_1", "hello", user="ann")

    among, known = candidates(), liked("tutor")
    choice = choose(ask, among, specialty, known, "cook")
    again = choose(replace(ask, last_agent="tutor"), among, specialty, known, "cook")

    assert choice is not None
    assert again is not None
    assert next(iter(choice.scores)) == "tutor"
    assert (choice.agent_id, choice.reason) == (
        "cook",
        "no description matches the request; cook is next",
    )
    assert again.reason == "tutor fits the request best"


def test_who_is_liked_does_not_take_what_is_anothers() -> None:
    ask, busy = replace(ASK, user="ann"), candidates(guide={"queue": 100})
    choice = chosen(ask, busy, liked("tutor", 60), default="cook")

    assert next(iter(choice.scores)) == "tutor"
    assert choice.reason == "no agent stands out; cook is next"


def test_a_top_that_is_low_is_in_doubt_however_clear() -> None:
    known = Known()
    for agent_id in ("cook", "tutor", "guide"):
        for _ in range(60):
            known = replace(known, performance=known.performance.after(agent_id, "", 0.0, 1.0))
    full = {"queue": 100}

    choice = chosen(ASK, candidates(cook=full, tutor=full, guide=full), known, default="cook")

    assert max(choice.scores.values()) < LEAST_TOP
    assert choice.agent_id == "cook"


def test_ties_go_to_the_lower_load_then_the_lower_cost_then_to_chance_of_the_request() -> None:
    lost = Ask("run_1", "xyzzy")
    idle = chosen(lost, candidates(cook={"queue": 2}, tutor={"queue": 1}))
    dear = Performance()
    for agent_id, cost in (("cook", 0.3), ("tutor", 0.31), ("guide", 0.3)):
        dear = dear.after(agent_id, "", 0.5, cost)
    cheap = chosen(lost, known=Known(performance=dear))
    by_chance = {chosen(Ask(f"run_{number}", "xyzzy")).agent_id for number in range(20)}

    assert idle.agent_id == "guide"
    assert cheap.agent_id in {"cook", "guide"}
    assert by_chance == {"cook", "tutor", "guide"}
    assert chosen(lost).agent_id == chosen(lost).agent_id


def test_chance_tries_another_good_agent_now_and_then() -> None:
    tried = chosen(Ask("run_1", "xyzzy"), default="cook", luck=EXPLORED / 2)
    usual = chosen(Ask("run_1", "xyzzy"), default="cook", luck=EXPLORED)

    assert tried.explored
    assert tried.agent_id in {"tutor", "guide"}
    assert tried.reason == f"{tried.agent_id} is tried out; cook came first"
    assert tried.propensity == EXPLORED / 2
    assert (usual.agent_id, usual.explored, usual.propensity) == ("cook", False, 1 - EXPLORED)


@pytest.mark.parametrize(
    "careful", [{"priority": 1}, {"priority": 2}, {"budget_used": 0.9}, {"pinned": "gone"}]
)
def test_nothing_is_tried_where_it_matters(careful: dict[str, Any]) -> None:
    choice = chosen(replace(Ask("run_1", "xyzzy"), **careful), luck=0.0)

    assert not choice.explored
    assert choice.propensity == 1.0


def test_only_agents_near_the_top_are_tried() -> None:
    choice = chosen(luck=0.0)

    assert choice.scores["guide"] - max(choice.scores["cook"], choice.scores["tutor"]) > NEAR
    assert not choice.explored


def test_the_agent_of_the_last_turn_is_in_context_unless_disliked() -> None:
    stays = criteria(replace(ASK, last_agent="guide"))["context_relevance"]
    disliked = criteria(replace(ASK, last_agent="guide", last_disliked=True))["context_relevance"]

    assert stays - disliked == pytest.approx(0.3)


def test_talks_like_earlier_good_ones_are_in_context() -> None:
    known = Known(contexts=Contexts().after("guide", ("a hotel by the sea",)))

    likely = criteria(replace(ASK, recent=("what about the sea?",)), known)["context_relevance"]

    assert likely == pytest.approx(0.5 + 0.2)
    assert criteria(ASK, known)["context_relevance"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("changed", "free"),
    [
        ({}, 1.0),
        ({"queue": 50}, 0.5),
        ({"queue": 50, "budget_used": 0.5}, 0.25),
        ({"queue": 1, "queue_limit": 0}, 0.0),
        ({"queue": 500}, 0.0),
        ({"budget_used": 1.5}, 0.0),
        ({"is_probing": True}, 0.0),
    ],
)
def test_what_is_free_is_what_queue_and_budget_leave(changed: dict[str, Any], free: float) -> None:
    assert criteria(**changed)["resource_availability"] == pytest.approx(free)


def test_cost_counts_against_quality() -> None:
    known = Known(performance=Performance().after("guide", "", 0.5, 1.0))

    assert criteria()["cost_efficiency"] == 1.0
    assert criteria(known=known)["cost_efficiency"] == pytest.approx(0.5 / (0.5 + 0.15))


def test_what_a_user_likes_counts_for_that_user() -> None:
    known = Known(preferences=Preferences().after("ann", "guide", 1.0))

    assert criteria(replace(ASK, user="ann"), known)["user_preference"] == pytest.approx(2 / 3)
    assert criteria(replace(ASK, user="bob"), known)["user_preference"] == 0.5


def test_only_the_best_scores_are_put_on_record() -> None:
    cards = [Card(f"agent{number}", "cake " * number) for number in range(30)]
    choice = chosen(Ask("run_1", "cake"), [Candidate(card) for card in cards])

    route = choice.as_route()

    assert len(choice.scores) == 30
    assert len(route["scores"]) == SHOWN  # type: ignore[arg-type]


def test_the_chosen_and_the_default_are_on_record_wherever_they_stand() -> None:
    cards = [Card(f"agent{number:02}", "cake") for number in range(30)]
    last: dict[str, Any] = {"queue": 90}
    among = [Candidate(card, **(last if card.agent_id == "agent29" else {})) for card in cards]
    ask = Ask("run_1", "cake")
    choice = chosen(ask, among, default="agent29")
    tried = chosen(ask, among, default="agent00", luck=EXPLORED * 0.99)
    broken = [replace(each, is_open=True) for each in among]
    left_out = chosen(ask, [*candidates(), *broken], default="agent29").as_route()

    assert choice.agent_id == "agent29"
    assert list(choice.scores)[-1] == "agent29"
    assert tried.explored
    assert list(tried.scores).index(tried.agent_id) >= SHOWN
    for each in (choice, tried):
        route = each.as_route()
        assert route["scores"].keys() == route["criteria"].keys() >= {each.agent_id}  # type: ignore[attr-defined]
        assert route["scores"].keys() >= set(each.named) - {None}  # type: ignore[attr-defined]
    assert left_out["excluded"].keys() >= {"agent29"}  # type: ignore[attr-defined]
    assert len(left_out["excluded"]) == SHOWN + 1  # type: ignore[arg-type]


@given(st.floats(0, 1, exclude_max=True), st.text(max_size=40), st.integers(1, 5))
def test_the_same_request_and_luck_are_decided_the_same_way(
    luck: float, text: str, priority: int
) -> None:
    ask = Ask("run_1", text, priority=priority)

    one, other = chosen(ask, luck=luck), chosen(ask, luck=luck)

    assert one == other
    assert 0 < one.propensity <= 1
