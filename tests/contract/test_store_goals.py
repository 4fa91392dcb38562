"""The contract of `GoalBook`, and what a goal lets in, over both databases."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from domain.acceptance import ForkOf, Page
from domain.budget import BudgetScope, Period
from domain.errors import ConflictError, LimitReachedError, NotFoundError
from domain.goal import GoalState, budget_of
from domain.run import RunKind
from tests.contract.money_scenes import DAY, accepted, entered, goal
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import DONE, OWNER, new_run, new_tool_run


async def test_a_goal_comes_with_its_daily_budget(store: StoreBox) -> None:
    made = await store.goals.put_goal(goal("goal_1"))
    daily = await store.budgets.get_budget(OWNER, budget_of("goal_1"))

    assert made.limits.max_agents == 100
    assert made.limits.max_concurrent == 10
    assert made.limits.max_cost_usd_per_day == "10"
    assert (daily.scope, daily.scope_id) == (BudgetScope.GOAL, "goal_1")
    assert (daily.limit_usd, daily.period, daily.on_exhausted) == ("10", Period.DAY, "ask")


async def test_a_goal_may_go_without_a_daily_budget(store: StoreBox) -> None:
    made = await store.goals.put_goal(goal("goal_1", limits={"max_cost_usd_per_day": None}))

    assert made.limits.max_cost_usd_per_day is None
    assert await store.all("SELECT * FROM budgets") == []


async def test_what_is_stored_is_what_is_read(store: StoreBox) -> None:
    given = goal(
        "goal_1",
        description="why",
        priority="urgent",
        success_criteria=[{"text": "it works", "weight": 2.0, "met": True, "evidence": "seen"}],
        metadata={"a": [1]},
        limits={"max_agents": None, "max_concurrent": 3, "max_cost_usd_per_day": "0.5"},
    )

    made = await store.goals.put_goal(given)

    kept = {"created_at", "updated_at", "progress"}
    assert made.model_dump(exclude=kept) == given.model_dump(exclude=kept)
    assert await store.goals.get_goal(OWNER, "goal_1") == made


async def test_a_goal_of_another_owner_is_not_there(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1"))

    for call in (
        store.goals.get_goal("bob", "goal_1"),
        store.goals.change_goal("bob", "goal_1", {"title": "mine"}),
        store.goals.delete_goal("bob", "goal_1"),
        store.goals.put_goal(goal("goal_2", owner="bob", parent_goal_id="goal_1")),
        store.runs.accept(new_run("run_1", owner="bob", goal_id="goal_1")),
    ):
        with pytest.raises(NotFoundError):
            await call
    assert (await store.goals.list_goals("bob", {}, Page()))[0] == []
    assert (await store.goals.get_goal(None, "goal_1")).title == "goal_1"


async def test_an_id_is_taken_once(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1"))

    with pytest.raises(ConflictError):
        await store.goals.put_goal(goal("goal_1"))


async def test_goals_are_listed_newest_first_by_state_and_place(store: StoreBox) -> None:
    for number in (1, 2, 3):
        above = None if number == 1 else "goal_1"
        await store.goals.put_goal(goal(f"goal_{number}", parent_goal_id=above))
    await store.goals.change_goal(OWNER, "goal_2", {"state": GoalState.PAUSED})

    first, cursor = await store.goals.list_goals(OWNER, {}, Page(limit=2))
    second, end = await store.goals.list_goals(OWNER, {}, Page(limit=2, cursor=cursor))
    paused, _ = await store.goals.list_goals(OWNER, {"state": "paused"}, Page())
    below, _ = await store.goals.list_goals(OWNER, {"parent_goal_id": "goal_1"}, Page())

    assert [one.goal_id for one in (*first, *second)] == ["goal_3", "goal_2", "goal_1"]
    assert end is None
    assert [one.goal_id for one in paused] == ["goal_2"]
    assert [one.goal_id for one in below] == ["goal_3", "goal_2"]


async def test_a_run_is_for_a_goal_that_is_then_in_progress(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1"))

    run = await accepted(store, "run_1", goal_id="goal_1", key_id="key_1")

    assert (run["goal_id"], run["key_id"]) == ("goal_1", "key_1")
    assert (await store.goals.get_goal(OWNER, "goal_1")).state is GoalState.IN_PROGRESS


@pytest.mark.parametrize("state", ["paused", "completed", "failed", "cancelled"])
async def test_a_goal_that_is_not_open_takes_no_new_runs(store: StoreBox, state: str) -> None:
    await store.goals.put_goal(goal("goal_1"))
    await store.goals.put_goal(goal("goal_2", parent_goal_id="goal_1"))
    await store.goals.change_goal(OWNER, "goal_1", {"state": GoalState(state)})

    for goal_id in ("goal_1", "goal_2"):
        with pytest.raises(ConflictError, match=f"goal_1 is {state}"):
            await store.runs.accept(new_run("run_1", goal_id=goal_id))
    await store.goals.change_goal(OWNER, "goal_1", {"state": GoalState.IN_PROGRESS})
    assert (await accepted(store, "run_1", goal_id="goal_1"))["goal_id"] == "goal_1"


async def test_what_a_run_makes_is_for_its_goal_with_its_key(store: StoreBox) -> None:
    """Also while the goal is paused: it belongs to work that goes on."""
    await store.goals.put_goal(goal("goal_1"))
    await accepted(store, "run_1", goal_id="goal_1", key_id="key_1")
    await store.goals.change_goal(OWNER, "goal_1", {"state": GoalState.PAUSED})

    child = await accepted(store, "run_2", parent_run_id="run_1", goal_id=None, key_id="key_9")

    assert (child["goal_id"], child["key_id"]) == ("goal_1", "key_1")


async def test_no_more_runs_are_open_at_once_than_a_goal_allows(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1", limits={"max_concurrent": 2}))
    for number in (1, 2):
        await accepted(store, f"run_{number}", goal_id="goal_1")

    with pytest.raises(LimitReachedError) as refused:
        await store.runs.accept(new_run("run_3", goal_id="goal_1"))
    await store.steps.finalize("run_1", DONE)
    await store.runs.accept(new_run("run_3", goal_id="goal_1"))

    assert refused.value.reason == "max_concurrent"


async def test_no_more_runs_are_made_for_a_goal_than_it_allows_in_all(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1", limits={"max_agents": 1}))
    await accepted(store, "run_1", goal_id="goal_1")
    await store.steps.finalize("run_1", DONE)

    with pytest.raises(LimitReachedError) as refused:
        await store.runs.accept(new_run("run_2", goal_id="goal_1"))

    assert refused.value.reason == "max_agents"


async def test_children_count_and_tool_runs_do_not(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1", limits={"max_concurrent": 1}))
    await accepted(store, "run_1", goal_id="goal_1")

    await store.runs.accept(replace(new_tool_run("run_2"), parent_run_id="run_1"))

    with pytest.raises(LimitReachedError):
        await store.runs.accept(new_run("run_3", parent_run_id="run_1"))
    found = await store.one("SELECT * FROM runs WHERE run_id = 'run_2'")
    assert (found["kind"], found["goal_id"]) == (RunKind.TOOL, "goal_1")


async def test_the_limits_of_a_goal_hold_for_the_goals_below(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1", limits={"max_concurrent": 1}))
    await store.goals.put_goal(goal("goal_2", parent_goal_id="goal_1"))
    await store.goals.put_goal(goal("goal_3", parent_goal_id="goal_1"))
    await accepted(store, "run_1", goal_id="goal_2")

    with pytest.raises(LimitReachedError, match="goal_1"):
        await store.runs.accept(new_run("run_2", goal_id="goal_3"))


async def test_a_race_for_the_last_place_has_one_winner(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1", limits={"max_concurrent": 3}))
    starts = [store.runs.accept(new_run(f"run_{n}", goal_id="goal_1")) for n in range(12)]

    ends = await asyncio.gather(*starts, return_exceptions=True)

    refused = [end for end in ends if isinstance(end, LimitReachedError)]
    assert len(refused) == 9
    assert len(await store.all("SELECT 1 FROM runs")) == 3


async def test_a_fork_of_a_run_whose_goal_is_gone_has_none(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1"))
    await accepted(store, "run_1", goal_id="goal_1")
    await store.steps.finalize("run_1", DONE)
    await store.goals.delete_goal(OWNER, "goal_1")

    fork = ForkOf("run_1", 0, by="ann", says_more=True)
    forked = await accepted(store, "run_2", goal_id="goal_1", fork=fork)

    assert forked["goal_id"] is None


async def test_progress_counts_the_runs_and_the_money_of_the_goals_below_too(
    store: StoreBox,
) -> None:
    await store.goals.put_goal(goal("goal_1"))
    await store.goals.put_goal(goal("goal_2", parent_goal_id="goal_1"))
    for run_id, goal_id in (("run_1", "goal_1"), ("run_2", "goal_2"), ("run_3", "goal_2")):
        await accepted(store, run_id, goal_id=goal_id)
    await store.steps.finalize("run_3", DONE)
    await store.set("UPDATE runs SET cost_pico = 2000000000000, unpriced_calls = 1")
    await store.set(
        "UPDATE runs SET state = 'RUNNING', waiting_on = 'budget' WHERE run_id = 'run_1'"
    )
    await entered(store, "run_2", "1.5", goal_id="goal_2")
    await entered(store, "run_1", "7", goal_id="goal_1", at=store.clock.now - 2 * DAY)

    whole = (await store.goals.get_goal(OWNER, "goal_1")).progress
    part = (await store.goals.get_goal(OWNER, "goal_2")).progress

    assert whole.runs == {"CREATED": 1, "RUNNING": 1, "DONE": 1}
    assert whole.waiting == {"budget": 1}
    assert (whole.spent_today_usd, whole.spent_total_usd) == ("1.5", "6")
    assert whole.unpriced_calls == 3
    assert part.runs == {"CREATED": 1, "DONE": 1}
    assert (part.spent_today_usd, part.spent_total_usd) == ("1.5", "4")


async def test_a_changed_goal_keeps_what_is_not_named(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1", description="why"))

    changes: dict[str, Any] = {"title": "new", "limits": {"max_concurrent": None}}
    changed = (await store.goals.change_goal(OWNER, "goal_1", changes)).goal

    assert (changed.title, changed.description) == ("new", "why")
    assert changed.limits.model_dump() == {
        "max_agents": 100,
        "max_concurrent": None,
        "max_cost_usd_per_day": "10",
    }


@pytest.mark.parametrize(("limit", "left"), [("20", ["20"]), (None, [])])
async def test_the_daily_limit_is_the_daily_budgets(
    store: StoreBox, limit: str | None, left: list[str]
) -> None:
    await store.goals.put_goal(goal("goal_1"))
    changes = {"limits": {"max_cost_usd_per_day": limit}}

    changed = await store.goals.change_goal(OWNER, "goal_1", changes)
    budgets, _ = await store.budgets.list_budgets(OWNER, {}, Page())
    back = {"limits": {"max_cost_usd_per_day": "3"}}
    again = await store.goals.change_goal(OWNER, "goal_1", back)

    assert changed.goal.limits.max_cost_usd_per_day == limit
    assert [one.limit_usd for one in budgets] == left
    assert again.goal.limits.max_cost_usd_per_day == "3"


async def test_an_ended_goal_names_its_end_and_may_be_taken_up_again(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1"))

    ended = (await store.goals.change_goal(OWNER, "goal_1", {"state": GoalState.FAILED})).goal
    again = await store.goals.change_goal(OWNER, "goal_1", {"state": GoalState.IN_PROGRESS})

    assert ended.ended_at is not None
    assert again.goal.ended_at is None
    with pytest.raises(ConflictError):
        await store.goals.change_goal(OWNER, "goal_1", {"state": GoalState.CREATED})


async def test_a_cancelled_goal_names_its_open_runs_and_those_below(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1"))
    await store.goals.put_goal(goal("goal_2", parent_goal_id="goal_1"))
    for run_id, goal_id in (("run_1", "goal_1"), ("run_2", "goal_2"), ("run_3", "goal_2")):
        await accepted(store, run_id, goal_id=goal_id)
    await accepted(store, "run_4", parent_run_id="run_1")
    await store.steps.finalize("run_3", DONE)

    change = await store.goals.change_goal(OWNER, "goal_1", {"state": GoalState.CANCELLED})

    assert list(change.to_cancel) == ["run_1", "run_2"]


async def test_a_goal_goes_once_nothing_is_open_or_below(store: StoreBox) -> None:
    await store.goals.put_goal(goal("goal_1"))
    await store.goals.put_goal(goal("goal_2", parent_goal_id="goal_1"))
    await accepted(store, "run_1", goal_id="goal_2")

    with pytest.raises(ConflictError, match="open runs"):
        await store.goals.delete_goal(OWNER, "goal_1")
    await store.steps.finalize("run_1", DONE)
    with pytest.raises(ConflictError, match="below"):
        await store.goals.delete_goal(OWNER, "goal_1")
    await store.goals.delete_goal(OWNER, "goal_2")
    await store.goals.delete_goal(OWNER, "goal_1")

    assert await store.all("SELECT * FROM goals") == []
    assert await store.all("SELECT * FROM budgets") == []
    assert (await store.runs.get_run(OWNER, "run_1")).goal_id == "goal_2"


async def test_what_works_on_after_its_parent_keeps_a_goal_and_is_stopped_with_it(
    store: StoreBox,
) -> None:
    await store.goals.put_goal(goal("goal_1"))
    await accepted(store, "run_1", goal_id="goal_1")
    await accepted(store, "run_2", parent_run_id="run_1")
    await store.steps.finalize("run_1", DONE)

    with pytest.raises(ConflictError, match="open runs"):
        await store.goals.delete_goal(OWNER, "goal_1")
    change = await store.goals.change_goal(OWNER, "goal_1", {"state": GoalState.CANCELLED})

    assert list(change.to_cancel) == ["run_2"]


async def test_goals_are_at_most_ten_deep(store: StoreBox) -> None:
    above: str | None = None
    for number in range(10):
        await store.goals.put_goal(goal(f"goal_{number}", parent_goal_id=above))
        above = f"goal_{number}"

    with pytest.raises(ConflictError, match="deep"):
        await store.goals.put_goal(goal("goal_x", parent_goal_id=above))
