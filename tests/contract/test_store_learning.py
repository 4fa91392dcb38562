"""The contract of `LearnBook`, over both databases."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from domain.acceptance import Chosen, NewRun, Page
from domain.budget import Budget, BudgetScope, OnExhausted, Period
from domain.errors import InvalidRequestError, NotFoundError
from domain.learning.books import Asker, Learnt, Reached, Remembered, Standing
from domain.learning.feedback import Feedback, FeedbackFilter, FeedbackStatus
from domain.learning.learning import Learning
from domain.run import RunState
from domain.step import KEPT, Finish
from domain.tiers import ModelTier
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import DONE, OWNER, new_run

CHOSEN = Chosen("math", ModelTier.SIMPLE, 0.6, {"specialty_match": 0.5})
ROUTE = {"kind": "agent", "agent_id": "helper", "reason": "it fits", "scores": {}}
TIER = {"kind": "tier", "tier": "simple", "reason": "it is easy", "scores": {}}


def said(run_id: str, by: str = "ann", **fields: Any) -> Feedback:
    return Feedback(f"fb_{run_id}_{by}", OWNER, run_id, 1.0, by, **fields)


def chosen(run_id: str, **fields: Any) -> NewRun:
    return new_run(run_id, chosen=CHOSEN, route=ROUTE, tier_route=TIER, **fields)


async def part(store: StoreBox, name: str, owner: str = OWNER) -> Remembered:
    return (await store.learning.load(owner, [name]))[name]


async def test_a_part_is_written_over_the_revision_it_was_made_from(store: StoreBox) -> None:
    first = await store.learning.keep(OWNER, Learnt({"weights": Remembered("1", 0)}))
    second = await store.learning.keep(OWNER, Learnt({"weights": Remembered("2", 1)}))
    stale = await store.learning.keep(OWNER, Learnt({"weights": Remembered("3", 1)}))
    twice = await store.learning.keep(OWNER, Learnt({"weights": Remembered("4", 0)}))

    assert (first, second, stale, twice) == (True, True, False, False)
    assert await part(store, "weights") == Remembered("2", 2)
    assert await store.learning.revisions(OWNER) == {"weights": 2}


async def test_nothing_is_kept_where_one_part_is_stale(store: StoreBox) -> None:
    await store.runs.accept(chosen("run_1"))
    await store.learning.keep(OWNER, Learnt({"weights": Remembered("1", 0)}))

    kept = await store.learning.keep(
        OWNER,
        Learnt(
            {"a": Remembered("x", 0), "weights": Remembered("2", 7)}, {"run_1": 1.0}, said("run_1")
        ),
    )

    assert not kept
    assert await store.learning.revisions(OWNER) == {"weights": 1}
    assert (await store.learning.list_feedback(OWNER, FeedbackFilter(), Page()))[0] == []
    assert not (await store.one("SELECT * FROM route_outcomes"))["labelled"]


async def test_what_was_learned_is_an_owners_own(store: StoreBox) -> None:
    await store.learning.keep(OWNER, Learnt({"weights": Remembered("1", 0)}))

    assert await store.learning.revisions("bob") == {}
    assert await store.learning.load("bob", ["weights"]) == {}
    assert await store.learning.load(OWNER, []) == {}


async def test_of_writers_at_once_one_wins(store: StoreBox) -> None:
    kept = await asyncio.gather(
        *(
            store.learning.keep(OWNER, Learnt({"weights": Remembered(str(number), 0)}))
            for number in range(8)
        )
    )

    assert sum(kept) == 1
    assert (await part(store, "weights")).revision == 1


async def test_raters_in_several_processes_are_all_learned_from(store: StoreBox) -> None:
    for number in range(6):
        await store.runs.accept(chosen(f"run_{number}", session_id=f"s{number}"))
    processes = [Learning(store.learning, store.clock) for _ in range(3)]

    await asyncio.gather(
        *(processes[number % 3].rate(OWNER, said(f"run_{number}")) for number in range(6))
    )

    memory = await processes[0].recall(OWNER)
    assert memory.words["helper"].labels == 6
    assert memory.tiers.labelled == 6


async def test_both_decisions_of_a_run_are_in_its_log(store: StoreBox) -> None:
    await store.runs.accept(chosen("run_1"))

    events = await store.log.read("run_1", 0, 10, ["route_decided"])

    assert [event.seq for event in events] == [2, 3]
    assert '"kind":"agent"' in events[0].envelope
    assert '"kind":"tier"' in events[1].envelope


async def test_what_a_run_can_teach_is_what_was_chosen_and_how_it_went(store: StoreBox) -> None:
    await store.runs.accept(chosen("run_1"))
    await store.steps.finalize("run_1", Finish(RunState.FAILED, "agent_error", "it broke"))
    await store.runs.accept(new_run("run_2", session_id="other"))

    facts = await store.learning.facts(OWNER, "run_1", "ann")
    plain = await store.learning.facts(None, "run_2", "ann")

    assert (facts.agent_id, facts.task_class, facts.tier) == ("helper", "math", ModelTier.SIMPLE)
    assert (facts.predicted, facts.criteria) == (0.6, {"specialty_match": 0.5})
    assert (facts.state, facts.error_code) == (RunState.FAILED, "agent_error")
    assert facts.cost_usd == 0.0
    assert not facts.is_rated
    assert (plain.task_class, plain.tier, plain.criteria) == (None, None, {})
    assert plain.request == new_run("run_2").content
    for owner in ("bob", OWNER):
        with pytest.raises(NotFoundError):
            await store.learning.facts(owner, "run_9" if owner == OWNER else "run_1", "ann")


async def test_a_run_is_rated_once_it_is_rated_by_the_same_person(store: StoreBox) -> None:
    await store.runs.accept(chosen("run_1"))
    await store.learning.keep(OWNER, Learnt(feedback=said("run_1")))

    assert (await store.learning.facts(OWNER, "run_1", "ann")).is_rated
    assert not (await store.learning.facts(OWNER, "run_1", "bob")).is_rated


async def test_runs_that_have_ended_are_taken_in_once(store: StoreBox) -> None:
    for number in (1, 2, 3):
        await store.runs.accept(chosen(f"run_{number}", session_id=f"s{number}"))
    await store.runs.accept(new_run("run_4", session_id="s4"))
    for number in (1, 2, 4):
        await store.steps.finalize(f"run_{number}", DONE)

    ended = await store.learning.ended(OWNER, 10)
    first = await store.learning.ended(OWNER, 1)
    await store.learning.keep(OWNER, Learnt(runs={"run_1": 0.5, "run_2": None}))

    assert [facts.run_id for facts in ended] == ["run_1", "run_2"]
    assert [facts.run_id for facts in first] == ["run_1"]
    assert await store.learning.ended(OWNER, 10) == []
    assert await store.learning.ended("bob", 10) == []
    rows = await store.all("SELECT run_id, utility FROM route_outcomes ORDER BY run_id")
    assert [(row["run_id"], row["utility"]) for row in rows] == [
        ("run_1", 0.5),
        ("run_2", None),
        ("run_3", None),
    ]


async def test_how_agents_stand_is_what_they_have_open_and_what_they_may_spend(
    store: StoreBox,
) -> None:
    for number in (1, 2, 3):
        await store.runs.accept(new_run(f"run_{number}", session_id=f"s{number}"))
    await store.steps.finalize("run_1", DONE)
    for scope, scope_id in ((BudgetScope.AGENT, "helper"), (BudgetScope.GLOBAL, OWNER)):
        await store.budgets.put_budget(
            Budget(
                budget_id=f"budget_{scope}",
                owner=OWNER,
                scope=scope,
                scope_id=scope_id,
                limit_usd="2",
                period=Period.NONE,
                on_exhausted=OnExhausted.STOP,
                created_at=1,
                updated_at=1,
            )
        )
    await store.set("UPDATE budgets SET spent_pico = 1000000000000")

    standing = await store.learning.standing(Asker(OWNER))

    left = {"helper": 10**12}
    assert standing == Standing({"helper": 2}, {"helper": 0.5}, 0.5, left=left)
    assert await store.learning.standing(Asker("bob")) == Standing()


async def test_a_session_has_reached_its_highest_tier_since_it_was_last_silent(
    store: StoreBox,
) -> None:
    day = 86_400_000
    complex_ = replace(CHOSEN, tier=ModelTier.COMPLEX)
    for number, what in enumerate((complex_, CHOSEN, None)):
        await store.runs.accept(new_run(f"run_{number}", session_id="s", chosen=what))
        await store.steps.finalize(f"run_{number}", DONE)
    last = (await store.one("SELECT max(created_at) AS at FROM runs"))["at"]

    reached = await store.learning.reached(OWNER, "s")
    await store.set(f"UPDATE runs SET created_at = created_at - {day} WHERE run_id = 'run_0'")
    after_a_day = await store.learning.reached(OWNER, "s")

    messages = (await store.one("SELECT message_count AS n FROM sessions"))["n"]
    assert messages > 0
    assert reached == Reached(ModelTier.COMPLEX, last, messages)
    assert after_a_day == Reached(ModelTier.SIMPLE, last, messages)
    assert await store.learning.reached(OWNER, "new") == Reached()
    assert await store.learning.reached("bob", "s") == Reached()


async def test_feedback_is_listed_newest_first_by_run_agent_and_status(store: StoreBox) -> None:
    for number in (1, 2, 3):
        learned = FeedbackStatus.LEARNED if number > 1 else FeedbackStatus.PENDING
        given = said(f"run_{number}", agent_id="agent", text="t", improvement="i", status=learned)
        await store.learning.keep(OWNER, Learnt(feedback=given))

    first, cursor = await store.learning.list_feedback(OWNER, FeedbackFilter(), Page(limit=2))
    rest, end = await store.learning.list_feedback(OWNER, FeedbackFilter(), Page(2, cursor))
    pending, _ = await store.learning.list_feedback(
        OWNER, FeedbackFilter(agent_id="agent", status="pending"), Page()
    )

    assert [each.run_id for each in (*first, *rest)] == ["run_3", "run_2", "run_1"]
    assert end is None
    assert replace(first[0], created_at=0) == said(
        "run_3", agent_id="agent", text="t", improvement="i", status=FeedbackStatus.LEARNED
    )
    assert [each.run_id for each in pending] == ["run_1"]
    assert (await store.learning.list_feedback("bob", FeedbackFilter(), Page()))[0] == []
    with pytest.raises(InvalidRequestError):
        await store.learning.list_feedback(OWNER, FeedbackFilter(), Page(cursor="nonsense"))


STANDING: dict[str, tuple[ModelTier, float | None]] = {
    "a/small": (ModelTier.SIMPLE, 0.6),
    "a/middling": (ModelTier.MEDIUM, 0.7),
    "a/big": (ModelTier.COMPLEX, 0.8),
    "b/big": (ModelTier.COMPLEX, None),
}
CLIMBS = replace(CHOSEN, standing=STANDING)
WEAK = {"weak": "the answer doubts itself", "passed": False}


async def close(store: StoreBox, step_id: str, model: str, result: dict[str, Any]) -> None:
    """Put a closed model call of `run_1` on record."""
    await store.set(
        "INSERT INTO steps (run_id, step_id, state, attempt, temporal_run_id, scheduled_at_us,"
        " task_token, worker_id, model, opened_at, result) VALUES ('run_1', :step_id, 'closed', 1,"
        " 't', 1, :token, 'w', :model, 1, :result)",
        step_id=step_id,
        token=b"t",
        model=model,
        result=json.dumps(result),
    )


@pytest.mark.parametrize(
    ("calls", "tier"),
    [
        ((("a/small", {}),), ModelTier.SIMPLE),
        ((("a/small", WEAK), ("a/big", {})), ModelTier.COMPLEX),
        ((("a/small", WEAK), ("a/middling", WEAK), ("a/big", {})), ModelTier.COMPLEX),
        ((("a/middling", {}),), ModelTier.MEDIUM),
        ((("x/own", {}),), ModelTier.SIMPLE),
        ((), ModelTier.SIMPLE),
    ],
)
async def test_a_session_has_reached_the_tier_that_really_answered(
    store: StoreBox, calls: tuple[tuple[str, dict[str, Any]], ...], tier: ModelTier
) -> None:
    await store.runs.accept(new_run("run_1", session_id="s", chosen=CLIMBS))
    for number, (model, result) in enumerate(calls, 1):
        await close(store, f"llm-1-{number}", model, result)

    assert (await store.learning.reached(OWNER, "s")).tier is tier


BROKEN = {**WEAK, "broken": True}
SIMPLE = (ModelTier.SIMPLE, 0.6)


@pytest.mark.parametrize(
    ("calls", "answered", "passed", "broken"),
    [
        ((), (ModelTier.SIMPLE, 0.6), None, ()),
        ((("a/small", {}),), SIMPLE, None, ()),
        ((("a/small", {}), ("a/small", {"passed": True})), SIMPLE, True, ()),
        ((("a/small", {"passed": False}), ("a/small", {"passed": True})), SIMPLE, True, ()),
        ((("a/middling", {"passed": True}),), (ModelTier.MEDIUM, 0.7), True, ()),
        ((("a/small", WEAK), ("a/big", {})), (ModelTier.COMPLEX, 0.8), None, ()),
        ((("a/small", BROKEN), ("a/big", {})), (ModelTier.COMPLEX, 0.8), None, (SIMPLE,)),
        ((("b/big", BROKEN), ("b/big", {})), (ModelTier.COMPLEX, None), None, ()),
        ((("a/small", WEAK), ("a/middling", WEAK), (KEPT, {})), (ModelTier.MEDIUM, 0.7), False, ()),
        ((("x/own", {}),), (None, None), None, ()),
        ((("a/small", WEAK),), SIMPLE, None, ()),
    ],
)
async def test_a_rating_is_of_the_answer_that_counted(
    store: StoreBox,
    calls: tuple[tuple[str, dict[str, Any]], ...],
    answered: tuple[ModelTier | None, float | None],
    passed: bool | None,
    broken: tuple[tuple[ModelTier, float], ...],
) -> None:
    await store.runs.accept(new_run("run_1", chosen=CLIMBS))
    for number, (model, result) in enumerate(calls, 1):
        await close(store, f"llm-1-{number}", model, result)

    facts = await store.learning.facts(OWNER, "run_1", "ann")

    assert ((facts.tier, facts.predicted), facts.passed) == (answered, passed)
    assert facts.broken == broken


async def test_a_run_that_nothing_was_chosen_for_has_no_tier(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await close(store, "llm-1-1", "a/small", {"passed": True})

    facts = await store.learning.facts(OWNER, "run_1", "ann")

    assert (facts.tier, facts.passed) == (None, True)
