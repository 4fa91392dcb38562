"""Remembering: read once, written over what is stored, taught once by each."""

import asyncio

import pytest

from domain.acceptance import Page
from domain.choosing.cards import Card
from domain.choosing.words import read
from domain.errors import NotFoundError, StoreUnavailableError
from domain.learning import learning as module
from domain.learning.books import Asker, Learnt, NothingLearned, Remembered, Turns
from domain.learning.feedback import Feedback, FeedbackFilter, FeedbackStatus
from domain.learning.learning import ABSORB_MS, Learning, nothing_learned
from domain.run import RunState
from tests.fakes.clock import FakeClock
from tests.fakes.learning import FakeLearnBook
from tests.unit.domain.learning.scenes import facts

CARDS = [Card("cook", "bread"), Card("guide", "hotels")]


@pytest.fixture
def book() -> FakeLearnBook:
    made = FakeLearnBook()
    made.facts_of = {f"run_{number}": facts(f"run_{number}") for number in range(10)}
    return made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def learning(book: FakeLearnBook, clock: FakeClock) -> Learning:
    return Learning(book, clock)


def said(
    run_id: str = "run_1", score: float = 1.0, by: str = "ann", improvement: str | None = None
) -> Feedback:
    return Feedback(f"fb_{run_id}_{by}", "ann", run_id, score, by, improvement=improvement)


async def test_feedback_is_kept_and_learned_from(learning: Learning, book: FakeLearnBook) -> None:
    kept = await learning.rate("ann", said())

    assert (kept.status, kept.agent_id) == (FeedbackStatus.LEARNED, "cook")
    assert (await learning.recall("ann")).words["cook"].labels == 1
    assert book.said == [kept]
    assert book.taken_in["run_1"] == 1.0


async def test_who_rates_a_run_twice_is_heard_twice_and_taught_from_once(
    learning: Learning, book: FakeLearnBook
) -> None:
    await learning.rate("ann", said())
    again = await learning.rate("ann", said(score=-1.0))
    other = await learning.rate("ann", said(by="bob"))

    assert again.status is FeedbackStatus.KEPT
    assert other.status is FeedbackStatus.LEARNED
    assert len(book.said) == 3
    assert (await learning.recall("ann")).words["cook"].labels == 2


async def test_an_improvement_waits_for_somebody_to_look(learning: Learning) -> None:
    kept = await learning.rate("ann", said(improvement="less sugar"))

    assert kept.status is FeedbackStatus.PENDING
    assert (await learning.recall("ann")).words["cook"].labels == 1


async def test_a_run_without_an_agent_is_heard_and_teaches_nothing(
    learning: Learning, book: FakeLearnBook
) -> None:
    book.facts_of["run_1"] = facts(agent_id=None)

    assert (await learning.rate("ann", said())).status is FeedbackStatus.KEPT
    assert book.parts == {}


async def test_a_run_of_another_owner_is_not_there(learning: Learning) -> None:
    with pytest.raises(NotFoundError):
        await learning.rate("bob", said())


async def test_a_write_that_meets_anothers_is_made_again_from_what_is_stored(
    book: FakeLearnBook, clock: FakeClock
) -> None:
    one, other = Learning(book, clock), Learning(book, clock)
    await one.recall("ann")
    await other.rate("ann", said("run_2"))
    book.rivals = 3

    await one.rate("ann", said("run_1"))

    assert (await other.recall("ann")).words["cook"].labels == 2


async def test_a_write_that_never_gets_through_keeps_nothing(
    learning: Learning, book: FakeLearnBook
) -> None:
    book.rivals = 10**6

    with pytest.raises(StoreUnavailableError, match="send the feedback again"):
        await learning.rate("ann", said())
    assert book.said == []


async def test_many_raters_at_once_are_all_learned_from(
    book: FakeLearnBook, clock: FakeClock
) -> None:
    learning = Learning(book, clock)

    await asyncio.gather(*(learning.rate("ann", said(f"run_{number}")) for number in range(10)))

    assert (await learning.recall("ann")).words["cook"].labels == 10


async def test_what_did_not_change_is_not_read_again(
    learning: Learning, book: FakeLearnBook
) -> None:
    await learning.rate("ann", said())
    await learning.recall("ann")
    before = book.loads

    first, second = await learning.recall("ann"), await learning.recall("ann")

    assert first is second
    assert book.loads == before


async def test_ended_runs_are_taken_in_now_and_then_and_once(
    learning: Learning, book: FakeLearnBook, clock: FakeClock
) -> None:
    await learning.recall("ann")
    book.over = [facts("run_1"), facts("run_2", state=RunState.CANCELLED)]

    soon = await learning.recall("ann")
    clock.now += ABSORB_MS
    later = await learning.recall("ann")

    assert soon.known.performance.cells == {}
    assert later.known.performance.cells["cook"]["question"].runs == pytest.approx(0.1)
    assert book.taken_in == {"run_1": 1.0, "run_2": None}
    assert book.over == []


async def test_the_first_criterion_is_made_anew_only_where_something_changed(
    learning: Learning,
) -> None:
    await learning.recall("ann")
    first = learning.specialty("ann", CARDS)
    same = learning.specialty("ann", CARDS)
    fewer = learning.specialty("ann", CARDS[:1])
    learning.specialty("ann", CARDS)
    await learning.rate("ann", said())
    await learning.recall("ann")
    taught = learning.specialty("ann", CARDS)

    assert first is same is not fewer
    assert taught.scores(read("cake"))["cook"] > first.scores(read("cake"))["cook"]


async def test_owners_that_were_not_asked_for_are_let_go(
    learning: Learning, book: FakeLearnBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is made small, so that the test is."""
    monkeypatch.setattr(module, "_MOST_OWNERS", 2)
    book.parts["ann", "weights"] = Remembered("{}", 1)
    for owner in ("ann", "bob", "ann", "eve", "ann", "bob"):
        await learning.recall(owner)

    assert book.loads == 1


async def test_feedback_is_listed(learning: Learning) -> None:
    await learning.rate("ann", said("run_1"))
    await learning.rate("ann", said("run_2"))

    found, _ = await learning.list_feedback("ann", FeedbackFilter(run_id="run_2"), Page())

    assert [each.run_id for each in found] == ["run_2"]


async def test_a_process_that_keeps_nothing_knows_nothing() -> None:
    learning, book = nothing_learned(), NothingLearned()

    assert (await learning.recall("ann")).words == {}
    assert (await learning.standing(Asker("ann"))).open_runs == {}
    assert (await learning.reached("ann", "s")).tier is None
    assert await learning.turns("ann", "s") == Turns()
    assert (await learning.list_feedback("ann", FeedbackFilter(), Page()))[0] == ()
    assert await book.load("ann", ["weights"]) == {}
    assert await book.keep("ann", Learnt())
    with pytest.raises(NotFoundError):
        await learning.rate("ann", said())
