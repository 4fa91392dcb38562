"""Which agent a request is about: cards first, then labels; and what is kept of labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.choosing import bayes
from domain.choosing.bayes import AgentWords
from domain.choosing.cards import Card, CardIndex, index_of, shares
from domain.choosing.specialty import Specialty
from domain.choosing.words import read

CARDS = [
    Card("cook", "Cook recipes for dinner, baking bread and cakes"),
    Card("tutor", "Tutor explains mathematics: algebra, geometry"),
    Card("guide", "Guide plans travel, hotels and flights"),
]


def best(specialty: Specialty, request: str) -> str:
    scores = specialty.scores(read(request))
    return max(scores, key=lambda agent_id: scores[agent_id])


@pytest.mark.parametrize(
    ("request_", "agent_id"),
    [
        ("I want to bake a cake and some breads", "cook"),
        ("Please explain ALGEBRA to me", "tutor"),
        ("find me a hotel", "guide"),
    ],
)
def test_without_labels_the_cards_say_who(request_: str, agent_id: str) -> None:
    assert best(Specialty(CARDS), request_) == agent_id


def test_a_word_that_every_card_holds_says_less_than_a_rare_one() -> None:
    scores = CardIndex([Card("a", "data data"), Card("b", "data graphs")]).scores(["data", "graph"])

    assert scores["b"] > scores["a"]


def test_cards_without_words_score_nothing() -> None:
    assert CardIndex([Card("a", ""), Card("b", "")]).scores(["data"]) == {"a": 0.0, "b": 0.0}


def test_the_same_cards_are_weighed_once() -> None:
    assert index_of(tuple(CARDS)) is index_of(tuple(CARDS))


def test_shares_of_nothing_are_nothing() -> None:
    assert shares({"a": 0.0}) == {"a": 0.0}
    assert shares({}) == {}


def test_labels_overrule_a_card_in_the_end() -> None:
    specialty = Specialty(CARDS)
    for _ in range(400):
        specialty.learn("guide", "where to eat cake in Rome")

    assert best(specialty, "cake in Rome") == "guide"
    assert best(specialty, "bake bread") == "cook"


def test_what_was_learned_survives_being_stored() -> None:
    one = Specialty(CARDS)
    one.learn("guide", "a trip to the sea")
    one.learn("tutor", "what is a prime")
    stored = {agent_id: words.model_dump_json() for agent_id, words in one.words().items()}

    read_back = {name: AgentWords.model_validate_json(text) for name, text in stored.items()}
    other = Specialty(CARDS, read_back)

    assert other.words() == one.words()
    assert other.scores(read("a trip")) == pytest.approx(one.scores(read("a trip")))
    assert "trip" not in stored["guide"]


def test_labels_of_an_agent_that_is_gone_harm_nobody() -> None:
    specialty = Specialty(CARDS, {"gone": AgentWords(labels=5, counts={"1f": 3.0})})

    assert set(specialty.scores(read("cake"))) == {"cook", "tutor", "guide"}
    assert specialty.words() == {}


def test_what_was_learned_is_bounded_and_the_rare_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bound is made small, so that the test is."""
    monkeypatch.setattr(bayes, "MOST_COUNTS", 100)
    specialty = Specialty(CARDS)
    for number in range(200):
        specialty.learn("cook", f"cake{number} for tea")

    kept = specialty.words()["cook"]

    assert len(kept.counts) <= 100
    assert kept.labels == 200
    assert max(kept.counts.values()) > 10
    assert Specialty(CARDS, {"cook": kept}).scores(read("tea")) == pytest.approx(
        specialty.scores(read("tea"))
    )


def test_odds_that_were_worked_out_are_kept_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound is made small, so that the test is."""
    monkeypatch.setattr(bayes, "_MOST_ROWS", 2)
    specialty = Specialty(CARDS)
    specialty.learn("cook", "cake and bread and butter and tea")

    first = specialty.scores(read("cake and bread and butter and tea"))

    assert specialty.scores(read("cake and bread and butter and tea")) == first
    assert specialty.scores(read("cake cake")) == specialty.scores(read("cake cake"))


@given(st.lists(st.tuples(st.sampled_from(["cook", "tutor", "guide"]), st.text(max_size=30))))
def test_scores_are_shares_whatever_was_learned(labels: list[tuple[str, str]]) -> None:
    specialty = Specialty(CARDS)
    for agent_id, text in labels:
        specialty.learn(agent_id, text)

    scores = specialty.scores(read("cake and algebra"))

    assert set(scores) == {"cook", "tutor", "guide"}
    assert all(0.0 <= score <= 1.0 for score in scores.values())
