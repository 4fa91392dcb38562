"""The models for `auto` and for tiers: named or decided, and what a run takes along."""

from typing import Any

import pytest

from domain.errors import NotFoundError
from domain.learning.books import Learnt, Reached, Remembered
from domain.learning.learning import Learning
from domain.learning.models import LearnedRouter
from domain.learning.tiercosts import Pricing
from domain.routing.chaining import Chain, chain_of, with_chain, with_models
from domain.routing.deciding import SESSION_IDLE_MS
from domain.routing.grading import Graded, Verifier
from domain.routing.ladder import Ladder
from domain.run import RunSpec
from domain.tiers import FixedTiers, ModelTier, Question
from tests.fakes.clock import NOW, FakeClock
from tests.fakes.learning import FakeLearnBook
from tests.fakes.proxy import FakePrices

TIERS: dict[ModelTier, tuple[str, ...]] = {
    ModelTier.SIMPLE: ("a/small",),
    ModelTier.COMPLEX: ("a/big", "b/big"),
}
LADDER: dict[ModelTier, tuple[str, ...]] = {
    ModelTier.MEDIUM: ("a/middling",),
    ModelTier.COMPLEX: ("a/big",),
}
EASY = Question("hi")


@pytest.fixture
def book() -> FakeLearnBook:
    return FakeLearnBook()


def router(
    book: FakeLearnBook, tiers: dict[ModelTier, tuple[str, ...]] | None = None
) -> LearnedRouter:
    clock = FakeClock()
    ladder = Ladder(TIERS if tiers is None else tiers, ("c/usual",))
    return LearnedRouter(ladder, Learning(book, clock), Pricing(FakePrices()), clock)


async def test_a_tier_that_is_named_is_taken(book: FakeLearnBook) -> None:
    choice = await router(book).choose(ModelTier.COMPLEX, EASY)

    assert (choice.models, choice.tier) == (("a/big", "b/big"), ModelTier.COMPLEX)
    assert choice.decision["reason"] == "asked for by name"
    assert choice.rungs == ()


async def test_auto_is_decided_with_everything_on_record(book: FakeLearnBook) -> None:
    choice = await router(book).choose(None, EASY)

    assert choice.models == TIERS[choice.tier or ModelTier.CRITICAL]
    assert set(choice.decision["scores"]) == {"simple", "complex"}
    assert choice.decision["kind"] == "tier"


async def test_without_tiers_auto_is_the_usual_chain(book: FakeLearnBook) -> None:
    choice = await router(book, {}).choose(None, EASY)

    assert (choice.models, choice.tier) == (("c/usual",), None)
    assert "no tiers are configured" in choice.decision["reason"]


async def test_a_run_that_climbs_takes_the_higher_tiers_along(book: FakeLearnBook) -> None:
    choice = await router(book).choose(ModelTier.SIMPLE, Question("hi", climbs=True))

    assert (choice.models, choice.rungs) == (("a/small", "a/big", "b/big"), (1,))


async def test_a_run_that_climbs_takes_along_what_is_expected_of_its_tiers(
    book: FakeLearnBook,
) -> None:
    made = router(book, LADDER)
    choice = await made.choose(ModelTier.MEDIUM, Question("hi", climbs=True))
    decided = await made.choose(None, Question("hi", climbs=True))

    assert choice.cascade is not None
    low, high = choice.cascade.levels
    costs = (await Pricing(FakePrices()).of(Ladder(LADDER))).costs(Ladder(LADDER))
    assert (low.place, low.tier, low.cost) == (0, ModelTier.MEDIUM, costs[ModelTier.MEDIUM])
    assert (high.place, high.tier, high.cost) == (1, ModelTier.COMPLEX, costs[ModelTier.COMPLEX])
    assert {"medium": low.quality, "complex": high.quality} == pytest.approx(
        decided.decision["qualities"], abs=1e-4
    )
    assert choice.cascade.task_class == "other"
    assert decided.cascade == choice.cascade


async def test_a_run_takes_along_how_the_look_did_on_its_class(book: FakeLearnBook) -> None:
    known = Verifier().after("other", is_good=True, passed=False)
    await book.keep("ann", Learnt({"verifier": Remembered(known.model_dump_json(), 0)}))
    made = router(book, LADDER)

    mine = await made.choose(ModelTier.MEDIUM, Question("hi", owner="ann", climbs=True))
    other = await made.choose(ModelTier.MEDIUM, Question("why?", owner="ann", climbs=True))

    assert mine.cascade is not None
    assert mine.cascade.graded == Graded(good=1)
    assert other.cascade is not None
    assert other.cascade.graded == Graded()


@pytest.mark.parametrize(
    ("tier", "climbs"),
    [(ModelTier.SIMPLE, False), (ModelTier.COMPLEX, True), (None, False)],
)
async def test_a_run_that_climbs_nowhere_takes_nothing_along(
    book: FakeLearnBook, tier: ModelTier | None, climbs: bool
) -> None:
    assert (await router(book).choose(tier, Question("hi", climbs=climbs))).cascade is None


async def test_within_a_session_the_tier_only_goes_up_until_a_day_is_over(
    book: FakeLearnBook,
) -> None:
    asked = Question("hi", owner="ann", session_id="s")
    book.reaches = Reached(ModelTier.COMPLEX, NOW - 1)
    held = await router(book).choose(None, asked)
    book.reaches = Reached(ModelTier.COMPLEX, NOW - SESSION_IDLE_MS)
    fresh = await router(book).choose(None, asked)

    assert held.tier is ModelTier.COMPLEX
    assert held.decision["reason"] == "the session has reached complex"
    assert fresh.tier is ModelTier.SIMPLE


@pytest.mark.parametrize("reached", [ModelTier.MEDIUM, ModelTier.CRITICAL])
async def test_a_session_never_goes_on_with_models_of_no_tier(
    book: FakeLearnBook, reached: ModelTier
) -> None:
    book.reaches = Reached(reached, NOW - 1)

    choice = await router(book).choose(None, Question("hi", owner="ann", session_id="s"))

    assert (choice.tier, choice.models) == (ModelTier.COMPLEX, ("a/big", "b/big"))


@pytest.mark.parametrize(
    ("tier", "reached", "taken"),
    [
        (ModelTier.SIMPLE, ModelTier.COMPLEX, ModelTier.COMPLEX),
        (ModelTier.SIMPLE, ModelTier.MEDIUM, ModelTier.COMPLEX),
        (ModelTier.SIMPLE, ModelTier.SIMPLE, ModelTier.SIMPLE),
        (ModelTier.COMPLEX, ModelTier.SIMPLE, ModelTier.COMPLEX),
    ],
)
async def test_a_named_tier_is_no_lower_than_its_session(
    book: FakeLearnBook, tier: ModelTier, reached: ModelTier, taken: ModelTier
) -> None:
    book.reaches = Reached(reached, NOW - 1)

    choice = await router(book).choose(tier, Question("hi", owner="ann", session_id="s"))

    assert (choice.tier, choice.models) == (taken, TIERS[taken])
    held = f"{tier} was asked for by name; the session has reached {reached}"
    assert choice.decision["reason"] == ("asked for by name" if taken is tier else held)
    assert choice.decision["tier"] == taken.value


async def test_where_there_are_no_tiers_a_named_one_is_the_usual_chain(book: FakeLearnBook) -> None:
    book.reaches = Reached(ModelTier.COMPLEX, NOW - 1)
    asked = Question("hi", owner="ann", session_id="s")

    choice = await router(book, {}).choose(ModelTier.SIMPLE, asked)

    assert (choice.tier, choice.models) == (ModelTier.SIMPLE, ("c/usual",))


async def test_a_long_session_makes_a_request_harder(book: FakeLearnBook) -> None:
    asked = Question("Go on with that", owner="ann", session_id="s")
    short = await router(book).choose(None, asked)
    book.reaches = Reached(None, NOW - 1, messages=60)
    long = await router(book).choose(None, asked)

    assert long.decision["complexity"] > short.decision["complexity"]
    assert "history" in long.decision["parts"]


async def test_urgent_work_tries_no_other_tier(book: FakeLearnBook) -> None:
    tried = await router(book).choose(None, Question("hi", luck=0.0))
    urgent = await router(book).choose(None, Question("hi", luck=0.0, may_explore=False))

    assert (tried.tier, tried.decision["explored"]) == (ModelTier.COMPLEX, True)
    assert (urgent.tier, urgent.decision["propensity"]) == (ModelTier.SIMPLE, 1.0)


HALF_PRICED: dict[ModelTier, tuple[str, ...]] = {
    ModelTier.SIMPLE: ("unpriced/x",),
    ModelTier.COMPLEX: ("unpriced/y", "a/big"),
}


async def test_money_that_is_capped_is_spent_on_models_with_a_price(book: FakeLearnBook) -> None:
    made = router(book, HALF_PRICED)
    free, capped = Question("hi"), Question("hi", is_capped=True)

    assert (await made.choose(None, free)).models == ("unpriced/x",)
    choice = await made.choose(None, capped)
    assert (choice.tier, choice.models) == (ModelTier.COMPLEX, ("a/big",))
    assert choice.decision["reason"].endswith(
        "; without simple: money is capped, and no model there has a price"
    )


async def test_a_tier_that_is_named_is_taken_though_nothing_there_has_a_price(
    book: FakeLearnBook,
) -> None:
    made = router(book, HALF_PRICED)

    named = await made.choose(ModelTier.SIMPLE, Question("hi", is_capped=True))
    climbing = await made.choose(ModelTier.SIMPLE, Question("hi", is_capped=True, climbs=True))

    assert named.models == ("unpriced/x",)
    assert climbing.models == ("unpriced/x", "unpriced/y", "a/big")


async def test_where_nothing_has_a_price_no_tier_is_left_out(book: FakeLearnBook) -> None:
    made = router(book, {ModelTier.SIMPLE: ("unpriced/x",)})

    choice = await made.choose(None, Question("hi", is_capped=True))

    assert choice.models == ("unpriced/x",)
    assert "capped" not in choice.decision["reason"]


async def resolved(models: tuple[str, ...], **fields: Any) -> Chain:
    ladder = Ladder(TIERS, ("c/usual",))
    made = LearnedRouter(
        ladder, Learning(FakeLearnBook(), FakeClock()), Pricing(FakePrices()), FakeClock()
    )
    return await chain_of(models, Question("hi", **fields), made)


async def test_names_of_choices_in_a_chain_become_models_each_once() -> None:
    plain = await resolved(("x/own", "y/own"))
    mixed = await resolved(("x/own", "tier:simple", "a/big", "tier:complex", "x/own"))

    assert plain == Chain(("x/own", "y/own"))
    assert mixed.models == ("x/own", "a/small", "a/big", "b/big")
    assert mixed.tier is ModelTier.SIMPLE
    assert mixed.decision["tier"] == "simple"


async def test_rungs_move_with_what_stands_before_them() -> None:
    climbing = await resolved(("x/own", "tier:simple"), climbs=True)
    known = await resolved(("a/small", "tier:simple"), climbs=True)
    whole = await resolved(("a/big", "b/big", "a/small", "tier:simple"), climbs=True)

    assert (climbing.models, climbing.rungs) == (("x/own", "a/small", "a/big", "b/big"), (1, 2))
    assert (known.models, known.rungs) == (("a/small", "a/big", "b/big"), (1,))
    assert (whole.models, whole.rungs) == (("a/big", "b/big", "a/small"), (1, 2))
    assert with_chain(RunSpec(), climbing).rungs == (1, 2)


def places(chain: Chain) -> dict[int, ModelTier]:
    levels = chain.cascade.levels if chain.cascade else ()
    return {level.place: level.tier for level in levels}


async def test_what_is_expected_of_tiers_moves_with_their_models() -> None:
    simple, complex_ = ModelTier.SIMPLE, ModelTier.COMPLEX
    behind = await resolved(("x/own", "tier:simple", "y/own"), climbs=True)
    known = await resolved(("a/small", "tier:simple"), climbs=True)
    whole = await resolved(("a/big", "b/big", "a/small", "tier:simple", "z/new"), climbs=True)
    second = await resolved(("tier:simple", "tier:complex"), climbs=True)

    assert places(behind) == {1: simple, 2: complex_}
    assert places(known) == {1: complex_}
    assert (whole.rungs, places(whole)) == ((1, 2, 3), {})
    assert places(second) == {0: simple, 1: complex_}
    assert with_chain(RunSpec(), behind).cascade == behind.cascade
    assert places(await resolved(("x/a", "x/b"), climbs=True)) == {}


async def test_a_chain_knows_the_tier_of_each_model_that_was_chosen() -> None:
    climbing = await resolved(("auto", "x/own"), climbs=True)
    flat = await resolved(("tier:simple", "x/own", "tier:complex"))
    simple, complex_ = ModelTier.SIMPLE, ModelTier.COMPLEX

    assert climbing.cascade is not None
    qualities = {level.tier: level.quality for level in climbing.cascade.levels}
    assert climbing.standing == {
        "a/small": (simple, qualities[simple]),
        "a/big": (complex_, qualities[complex_]),
        "b/big": (complex_, qualities[complex_]),
    }
    assert flat.standing == {
        "a/small": (simple, None),
        "a/big": (complex_, None),
        "b/big": (complex_, None),
    }
    assert (await resolved(("x/own",))).standing == {}


async def test_in_a_plain_chain_that_climbs_each_model_is_above_the_one_before() -> None:
    climbing = await resolved(("x/a", "x/b", "x/a", "x/c"), climbs=True)
    flat = await resolved(("x/a", "x/b"))

    assert (climbing.models, climbing.rungs) == (("x/a", "x/b", "x/c"), (1, 2))
    assert flat.rungs == ()


async def test_a_tier_that_is_none_is_refused() -> None:
    with pytest.raises(NotFoundError, match="no model"):
        await resolved(("tier:huge",))


async def test_fixed_tiers_climb_nowhere() -> None:
    chain = await chain_of(("auto",), EASY, FixedTiers({}, ("c/usual",)))

    assert (chain.models, chain.tier, chain.rungs) == (("c/usual",), None, ())


@pytest.mark.parametrize(
    ("climbs", "models", "rungs"),
    [(True, ("y/a", "y/b", "y/c"), (1, 2)), (True, ("y/a",), ()), (False, ("y/a", "y/b"), ())],
)
async def test_other_models_forget_what_was_expected_of_the_first(
    climbs: bool, models: tuple[str, ...], rungs: tuple[int, ...]
) -> None:
    spec = with_chain(RunSpec(), await resolved(("tier:simple",), climbs=climbs))

    other = with_models(spec, models)

    assert (other.models, other.rungs, other.cascade) == (models, rungs, None)
