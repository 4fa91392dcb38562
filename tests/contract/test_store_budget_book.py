"""The contract of `BudgetBook` over both databases; what steps do with budgets is tested there."""

import json

import pytest

from domain.acceptance import Page
from domain.budget import BudgetScope, OnExhausted, Period
from domain.errors import ConflictError, NotFoundError
from tests.contract.money_scenes import DAY, USD, accepted, budget, entered, goal, held
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import OWNER

AGENT = BudgetScope.AGENT


async def test_a_new_budget_is_untouched_where_nothing_was_spent(store: StoreBox) -> None:
    made = await store.budgets.put_budget(budget("budget_1", AGENT, "helper", limit_usd="0.5"))

    assert (made.limit_usd, made.reserved_usd, made.spent_usd) == ("0.5", "0", "0")
    assert made.warnings == ()
    assert await store.budgets.get_budget(OWNER, "budget_1") == made


async def test_an_id_is_taken_once(store: StoreBox) -> None:
    await store.budgets.put_budget(budget("budget_1", AGENT, "helper"))

    with pytest.raises(ConflictError):
        await store.budgets.put_budget(budget("budget_1", AGENT, "helper"))


@pytest.mark.parametrize(
    ("scope", "scope_id", "spent"),
    [
        (BudgetScope.RUN, "run_1", "3"),
        (BudgetScope.RUN, "run_2", "2"),
        (BudgetScope.SESSION, "s-run_1", "1"),
        (BudgetScope.AGENT, "helper", "7"),
        (BudgetScope.GOAL, "goal_1", "3"),
        (BudgetScope.GOAL, "goal_2", "2"),
        (BudgetScope.KEY, "key_1", "4"),
        (BudgetScope.GLOBAL, OWNER, "7"),
        (BudgetScope.GLOBAL, "bob", "16"),
        (BudgetScope.GLOBAL, "*", "23"),
    ],
)
async def test_what_was_spent_before_counts(
    store: StoreBox, scope: BudgetScope, scope_id: str, spent: str
) -> None:
    """A run counts with all below it, a goal with the goals below it; owners are apart."""
    await store.goals.put_goal(goal("goal_1"))
    await store.goals.put_goal(goal("goal_2", parent_goal_id="goal_1"))
    await accepted(store, "run_1")
    await accepted(store, "run_2", parent_run_id="run_1")
    await entered(store, "run_1", "1", goal_id="goal_1")
    await entered(store, "run_2", "2", goal_id="goal_2")
    await entered(store, "run_3", "4", key_id="key_1")
    await entered(store, "run_4", None)
    await entered(store, "run_5", "16", owner="bob", goal_id="goal_1", key_id="key_1")

    made = await store.budgets.put_budget(budget("budget_new", scope, scope_id))

    assert made.spent_usd == spent


async def test_a_daily_budget_begins_with_what_was_spent_today(store: StoreBox) -> None:
    await entered(store, "run_1", "1")
    await entered(store, "run_2", "2", at=store.clock.now - DAY)

    made = await store.budgets.put_budget(budget("budget_1", AGENT, "helper", period=Period.DAY))
    store.clock.now += DAY
    tomorrow = await store.budgets.get_budget(OWNER, "budget_1")

    assert made.spent_usd == "1"
    assert tomorrow.spent_usd == "0"


async def test_nothing_is_gained_by_making_a_budget_again(store: StoreBox) -> None:
    await entered(store, "run_1", "4.9")
    first = await store.budgets.put_budget(budget("budget_1", AGENT, "helper"))
    await store.budgets.delete_budget(OWNER, "budget_1")

    again = await store.budgets.put_budget(budget("budget_2", AGENT, "helper"))

    assert first.spent_usd == again.spent_usd == "4.9"


async def test_what_calls_on_their_way_hold_counts_against_a_new_budget(store: StoreBox) -> None:
    await held(store, "hold_1", "0.25")
    await held(store, "hold_2", "0.5", agent_id="other")

    made = await store.budgets.put_budget(budget("budget_1", AGENT, "helper"))
    rows = await store.all("SELECT * FROM holds ORDER BY hold_id")

    assert made.reserved_usd == "0.25"
    assert [json.loads(row["budget_ids"]) for row in rows] == [
        ["budget_other", "budget_1"],
        ["budget_other"],
    ]


async def test_budgets_are_listed_newest_first_by_scope(store: StoreBox) -> None:
    for number, agent in ((1, "a"), (2, "b"), (3, "a")):
        await store.budgets.put_budget(budget(f"budget_{number}", AGENT, agent))
    await store.budgets.put_budget(budget("budget_4", BudgetScope.SESSION, "a"))

    first, cursor = await store.budgets.list_budgets(OWNER, {}, Page(limit=3))
    rest, end = await store.budgets.list_budgets(OWNER, {}, Page(limit=3, cursor=cursor))
    of_a, _ = await store.budgets.list_budgets(OWNER, {"scope": "agent", "scope_id": "a"}, Page())

    assert [one.budget_id[-1] for one in (*first, *rest)] == ["4", "3", "2", "1"]
    assert end is None
    assert [one.budget_id for one in of_a] == ["budget_3", "budget_1"]


async def test_a_budget_of_another_owner_is_not_there(store: StoreBox) -> None:
    await store.budgets.put_budget(budget("budget_1", AGENT, "helper"))

    for call in (
        store.budgets.get_budget("bob", "budget_1"),
        store.budgets.change_budget("bob", "budget_1", {"limit_usd": "9"}),
        store.budgets.delete_budget("bob", "budget_1"),
    ):
        with pytest.raises(NotFoundError):
            await call
    assert (await store.budgets.list_budgets("bob", {}, Page()))[0] == []
    assert (await store.budgets.get_budget(None, "budget_1")).limit_usd == "5"


async def _waiting(store: StoreBox, run_id: str, budget_id: str, **fields: str) -> None:
    """Let a run wait until a person says something about a budget."""
    await accepted(store, run_id)
    await store.set(
        "UPDATE runs SET state = 'RUNNING', waiting_on = :on WHERE run_id = :id",
        on=fields.get("on", "budget"),
        id=run_id,
    )
    await store.set(
        "INSERT INTO approvals (approval_id, owner, run_id, tool_call_id, tool_name, args,"
        " args_summary, args_digest, risk, why, asker, policy_print, ruled_at, status, on_timeout,"
        " created_at, kind, budget_id) VALUES (:id, :owner, :run, :id, '', '{}', '', '', 'low', '',"
        " '', '', 1, :status, 'reject', 1, 'budget', :budget)",
        id=f"ap_{run_id}",
        owner=OWNER,
        run=run_id,
        status=fields.get("status", "pending"),
        budget=budget_id,
    )


async def test_a_change_names_the_runs_that_wait_on_the_budget(store: StoreBox) -> None:
    await store.budgets.put_budget(budget("budget_1", AGENT, "helper"))
    await _waiting(store, "run_1", "budget_1")
    await _waiting(store, "run_2", "budget_2")
    await _waiting(store, "run_3", "budget_1", status="approved")
    await _waiting(store, "run_4", "budget_1", on="approval")

    changes = {"limit_usd": "50", "on_exhausted": OnExhausted.STOP}
    changed, waiting = await store.budgets.change_budget(OWNER, "budget_1", changes)
    left = await store.budgets.delete_budget(OWNER, "budget_1")

    assert (changed.limit_usd, changed.on_exhausted) == ("50", OnExhausted.STOP)
    assert list(waiting) == list(left) == ["run_1"]
    with pytest.raises(NotFoundError):
        await store.budgets.get_budget(OWNER, "budget_1")


async def test_a_raised_limit_is_warned_about_again(store: StoreBox) -> None:
    await store.budgets.put_budget(budget("budget_1", AGENT, "helper", limit_usd="10"))
    await store.set("UPDATE budgets SET spent_pico = :spent, warned = 95", spent=9 * USD + USD // 2)

    warned = (await store.budgets.get_budget(OWNER, "budget_1")).warnings
    some, _ = await store.budgets.change_budget(OWNER, "budget_1", {"limit_usd": "11"})
    none, _ = await store.budgets.change_budget(OWNER, "budget_1", {"limit_usd": "100"})

    assert (warned, some.warnings, none.warnings) == ((80, 95), (80,), ())
