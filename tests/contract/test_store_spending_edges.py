"""Budgets at their edges: midnight on two clocks, whose they are, which is asked about."""

import asyncio
from decimal import Decimal

import pytest

from adapters.store.database.tx import Tx
from adapters.store.steps.opening import open_step
from domain.approval import Answer
from domain.budget import DAY_MS, Budget, BudgetScope, OnExhausted
from domain.errors import ConflictError
from domain.spending import PriceOverride
from domain.step import AwaitingBudget, Opened, Withheld
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import OWNER, check_log, execution, must_open, new_run
from tests.contract.test_store_spending import (
    CALL,
    PLAN,
    ask,
    bill,
    budget,
    hold,
    opened,
    put_budget,
)

MADE = Budget(
    budget_id="bud_1",
    owner=OWNER,
    scope=BudgetScope.AGENT,
    scope_id="helper",
    limit_usd="1",
    on_exhausted=OnExhausted.STOP,
    created_at=1,
    updated_at=1,
)


async def test_a_day_does_not_begin_anew_for_a_clock_that_is_behind(store: StoreBox) -> None:
    await put_budget(store, 2 * CALL + 1, period="day")
    midnight = (store.clock.now // DAY_MS + 1) * DAY_MS
    held = 0
    for number in range(8):
        await store.runs.accept(new_run(f"run_{number}"))
        store.clock.now = midnight + (100 if number % 2 == 0 else -100)
        held += isinstance(await opened(store, f"run_{number}"), Opened)

    assert held == 2
    assert await budget(store) == (2 * CALL, 0)


async def test_what_is_somebody_elses_nobody_of_the_run_is_asked_about(store: StoreBox) -> None:
    await put_budget(store, CALL // 10, owner="boss", scope_id="*", on_exhausted="ask")
    await store.runs.accept(new_run("run_1"))

    opening = await opened(store, "run_1")

    assert isinstance(opening, Withheld)
    assert opening.code == "budget_exhausted"
    assert await store.all("SELECT * FROM approvals") == []


async def test_a_budget_that_became_somebody_elses_is_not_raised(store: StoreBox) -> None:
    asked = await ask(store)
    await store.write(lambda tx: tx.run("UPDATE budgets SET owner = 'boss', scope_id = '*'"))

    with pytest.raises(ConflictError):
        await store.approvals.decide(OWNER, asked.approval_id, Answer(approved=True, by="ann"))


async def test_a_new_budget_sees_what_steps_hold(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await hold(store, "run_1")
    await store.budgets.put_budget(MADE)

    assert await budget(store) == (CALL, 0)


async def test_a_question_that_was_answered_otherwise_is_asked_anew(store: StoreBox) -> None:
    asked = await ask(store)
    await store.write(lambda tx: tx.run("UPDATE budgets SET limit_pico = :n", n=CALL))
    must_open(await opened(store, "run_1"))

    # Its worker dies: what was held is spent, and the budget lacks again.
    again = await opened(store, "run_1")

    assert isinstance(again, AwaitingBudget)
    assert again.approval_id != asked.approval_id
    await check_log(store, "run_1")


async def test_the_budget_that_lacks_now_is_the_one_that_is_asked_about(store: StoreBox) -> None:
    first = await ask(store)
    await put_budget(
        store, CALL // 10, budget_id="bud_2", scope="agent", scope_id="helper", on_exhausted="ask"
    )
    await store.write(lambda tx: tx.run("DELETE FROM budgets WHERE budget_id = 'bud_1'"))

    then = await opened(store, "run_1")

    assert isinstance(then, AwaitingBudget)
    assert then.budget_id == "bud_2"
    assert (await store.approvals.get_approval(OWNER, first.approval_id)).status == "expired"
    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on == "budget"
    await check_log(store, "run_1")


@pytest.mark.parametrize(("action", "code"), [("stop", "exhausted"), ("degrade", "degraded")])
async def test_a_budget_that_no_longer_asks_lets_the_run_go(
    store: StoreBox, action: str, code: str
) -> None:
    await ask(store)
    await store.write(lambda tx: tx.run("UPDATE budgets SET on_exhausted = :a", a=action))

    then = await opened(store, "run_1")

    assert isinstance(then, Withheld)
    assert then.code == f"budget_{code}"
    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on is None
    await check_log(store, "run_1")


@pytest.mark.parametrize("action", ["ask", "degrade"])
async def test_only_a_budget_that_stops_cuts_a_reply(store: StoreBox, action: str) -> None:
    await put_budget(store, CALL - 1, on_exhausted=action)
    await store.runs.accept(new_run("run_1"))

    assert not isinstance(await opened(store, "run_1"), Opened)


async def test_a_told_wait_outlasts_the_failure_of_another_call(store: StoreBox) -> None:
    for number in (1, 2):
        await store.runs.accept(new_run(f"run_{number}"))
    first, second = await hold(store, "run_1"), await hold(store, "run_2")
    limited = {"code": "model_rate_limited", "message": "429"}
    await store.steps.fail(first, bill(0, error=limited, retry_after_ms=60_000))

    await store.steps.fail(second, bill(0, error={"code": "model_timeout", "message": "-"}))

    again = await opened(store, "run_2")
    assert isinstance(again, Withheld)
    assert again.code == "model_rate_limited"


async def test_an_opening_whose_reply_was_lost_is_told_again_as_it_was(store: StoreBox) -> None:
    """Whatever happens to prices meanwhile: money is held by those of the opening."""
    await put_budget(store, CALL - 2000 * 100)
    await set_price(store, "0.001", "0.002")
    await store.runs.accept(new_run("run_1"))
    who = execution("run_1")
    first = must_open(await store.steps.open(who, PLAN))
    await store.write(lambda tx: tx.run("DELETE FROM prices"))

    again = must_open(await store.steps.open(who, PLAN))

    assert first.cut_by == "budget_exhausted"
    assert first.price is not None
    assert again == first


async def set_price(store: StoreBox, said: str, told: str) -> None:
    price = PriceOverride(Decimal(said), Decimal(told), Decimal(said))
    await store.prices.put_price(PLAN.model, price, "ann")


async def test_a_budget_made_or_lowered_past_a_mark_shows_it(store: StoreBox) -> None:
    await put_budget(store, 100, spent_pico=96)
    made = await store.budgets.get_budget(OWNER, "bud_1")

    raised, _ = await store.budgets.change_budget(OWNER, "bud_1", {"limit_usd": "1"})
    lowered, _ = await store.budgets.change_budget(OWNER, "bud_1", {"limit_usd": "0.00000000012"})

    assert (made.warnings, raised.warnings, lowered.warnings) == ((80, 95), (), (80,))


async def test_a_budget_that_is_made_counts_a_call_that_is_being_opened(store: StoreBox) -> None:
    """On PostgreSQL: the opening has seen no such budget, and is not committed yet."""
    if store.kind != "postgres":
        pytest.skip("SQLite has one writer at a time")
    await store.runs.accept(new_run("run_1"))

    def slowly(tx: Tx) -> None:
        assert isinstance(open_step(tx, execution("run_1"), store.clock.now, PLAN), Opened)
        tx.one("SELECT pg_sleep(0.5)")

    opening = asyncio.create_task(store.write(slowly))
    await store.server_runs("%pg_sleep%")
    await store.budgets.put_budget(MADE)
    await opening

    assert await budget(store) == (CALL, 0)
