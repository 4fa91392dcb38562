"""Budgets inside the opening transaction: held before, settled after, asked about, never raced."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from domain.approval import Answer, Remember
from domain.bounds import fixed_bytes
from domain.budget import DAY_MS
from domain.chat import TokenUsage
from domain.errors import ConflictError, InvalidRequestError, StepRefusedError
from domain.run import RunSpec
from domain.step import Attempt, AwaitingBudget, CallBill, CallPlan, Opened, Withheld
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    MODEL,
    OWNER,
    answer,
    check_log,
    events,
    execution,
    must_open,
    new_run,
    types,
)

PLAN = CallPlan(model=MODEL, input_rate=1000, output_rate=2000, max_output=1000)
CALL = 1000 * (fixed_bytes(RunSpec()) + len("hello from run_1") + 16) + 1000 * 2000
"""What one call of these tests can cost at most, in picodollars; run ids have one digit."""


async def put_budget(store: StoreBox, pico: int, **fields: Any) -> str:
    row = {
        "budget_id": "bud_1",
        "owner": OWNER,
        "scope": "global",
        "scope_id": OWNER,
        "limit_pico": pico,
        "period": "none",
        "on_exhausted": "stop",
        "day": 0,
        "created_at": 1,
        "updated_at": 1,
        **fields,
    }
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    await store.write(lambda tx: tx.run(f"INSERT INTO budgets ({names}) VALUES ({values})", **row))
    return str(row["budget_id"])


async def budget(store: StoreBox, budget_id: str = "bud_1") -> tuple[int, int]:
    row = await store.one(f"SELECT * FROM budgets WHERE budget_id = '{budget_id}'")
    return row["reserved_pico"], row["spent_pico"]


async def opened(store: StoreBox, run_id: str, plan: CallPlan = PLAN, step: str = "llm-1-1") -> Any:
    return await store.steps.open(execution(run_id, step), plan)


async def hold(store: StoreBox, run_id: str, step: str = "llm-1-1") -> Attempt:
    return Attempt(run_id, step, must_open(await opened(store, run_id, PLAN, step)).attempt)


def bill(pico: int, **fields: Any) -> CallBill:
    made = CallBill(
        model=MODEL,
        usage=TokenUsage(input_tokens=10, output_tokens=5),
        cost_pico=pico,
        estimated=False,
        latency_ms=3,
    )
    return replace(made, **fields)


async def test_a_call_is_held_at_its_bound_and_settled_at_its_cost(store: StoreBox) -> None:
    await put_budget(store, 10 * CALL)
    await store.runs.accept(new_run("run_1"))

    attempt = await hold(store, "run_1")
    held = await budget(store)
    run = await store.one("SELECT * FROM runs")
    await store.steps.close(attempt, answer(bill=bill(77)))

    assert held == (CALL, 0)
    assert run["reserved_pico"] == CALL
    assert await budget(store) == (0, 77)
    after = await store.one("SELECT * FROM runs")
    assert (after["reserved_pico"], after["reserved_tokens"], after["cost_pico"]) == (0, 0, 77)
    assert await store.all("SELECT * FROM holds") == []


@pytest.mark.parametrize("end", ["fail", "release", "die", "cancel"])
async def test_nothing_stays_held_however_a_call_ends(store: StoreBox, end: str) -> None:
    await put_budget(store, 10 * CALL)
    await store.runs.accept(new_run("run_1"))
    attempt = await hold(store, "run_1")

    if end == "fail":
        await store.steps.fail(attempt, bill(0, error={"code": "model_unavailable", "message": ""}))
    elif end == "release":
        await store.steps.release(attempt)
    elif end == "cancel":
        await store.steps.finalize("run_1", CANCELLED)
    else:
        await store.steps.close(await hold(store, "run_1"), answer(bill=bill(5)))

    reserved, spent = await budget(store)
    charged = {"fail": 0, "release": CALL, "cancel": CALL, "die": CALL + 5}[end]
    assert (reserved, spent) == (0, charged)
    assert await store.all("SELECT * FROM holds") == []
    assert (await store.one("SELECT sum(cost_pico) AS n FROM usage"))["n"] == charged


async def test_calls_that_race_never_get_more_than_there_is(store: StoreBox) -> None:
    await put_budget(store, 3 * CALL + 1)
    runs = [f"run_{n}" for n in range(8)]
    for run_id in runs:
        await store.runs.accept(new_run(run_id))

    openings = await asyncio.gather(*(opened(store, run_id) for run_id in runs))

    assert sum(isinstance(opening, Opened) for opening in openings) == 3
    refused = {o.code for o in openings if isinstance(o, Withheld)}
    assert refused == {"budget_busy"}
    assert await budget(store) == (3 * CALL, 0)


async def test_a_reply_is_cut_to_what_a_budget_leaves(store: StoreBox) -> None:
    await put_budget(store, CALL - 600 * 2000)
    await store.runs.accept(new_run("run_1"))

    opening = must_open(await opened(store, "run_1"))

    assert (opening.bound.output_tokens, opening.cut_by) == (400, "budget_exhausted")
    assert await budget(store) == (CALL - 600 * 2000, 0)


async def test_a_budget_that_stops_ends_the_call_with_its_event(store: StoreBox) -> None:
    await put_budget(store, CALL // 10)
    await store.runs.accept(new_run("run_1"))

    opening = await opened(store, "run_1")

    assert isinstance(opening, Withheld)
    assert opening.code == "budget_exhausted"
    assert "bud_1" in opening.message
    (told,) = [e["data"] for e in await events(store, "run_1") if e["type"] == "budget_exhausted"]
    assert (told["action"], told["budget_id"], told["step"]) == ("stop", "bud_1", "llm-1-1")
    await check_log(store, "run_1")


async def test_a_budget_that_degrades_lets_the_next_model_try(store: StoreBox) -> None:
    await put_budget(store, CALL // 10, on_exhausted="degrade")
    await store.runs.accept(new_run("run_1"))

    opening = await opened(store, "run_1")
    free = CallPlan(model="ollama/small", input_rate=0, output_rate=0)
    then = await opened(store, "run_1", free, "llm-1-2")

    assert isinstance(opening, Withheld)
    assert opening.code == "budget_degraded"
    assert isinstance(then, Opened)
    assert await budget(store) == (0, 0)


async def ask(store: StoreBox, pico: int = CALL // 10, **fields: Any) -> AwaitingBudget:
    await put_budget(store, pico, on_exhausted="ask", **fields)
    await store.runs.accept(new_run("run_1"))
    opening = await opened(store, "run_1")
    assert isinstance(opening, AwaitingBudget)
    return opening


async def test_a_person_is_asked_and_an_approval_raises_the_budget(store: StoreBox) -> None:
    asked = await ask(store)
    run = await store.runs.get_run(OWNER, "run_1")
    approval = await store.approvals.get_approval(OWNER, asked.approval_id)
    again = await opened(store, "run_1")

    await store.approvals.decide(OWNER, asked.approval_id, Answer(approved=True, by="key_1"))
    then = must_open(await opened(store, "run_1"))

    assert (run.state, run.waiting_on) == ("RUNNING", "budget")
    assert (approval.kind, approval.budget_id, approval.tool_name) == (
        "budget",
        "bud_1",
        "raise_budget",
    )
    assert again == asked
    assert then.bound.pico == CALL
    assert (await store.one("SELECT * FROM budgets"))["limit_pico"] >= CALL
    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on is None
    told = await types(store, "run_1")
    assert [t for t in told if t.startswith(("run_", "budget_", "approval_"))] == [
        "run_started",
        "budget_exhausted",
        "approval_required",
        "run_waiting",
        "approval_decision",
        "run_resumed",
    ]
    await check_log(store, "run_1")


async def test_an_approval_may_name_another_limit(store: StoreBox) -> None:
    asked = await ask(store)
    low = Answer(approved=True, by="k", edited_args='{"limit_usd": "0.000000000001"}')
    other = Answer(approved=True, by="k", edited_args='{"limit_usd": "1", "x": 1}')
    kept = Answer(approved=True, by="k", remember=Remember.AGENT)

    with pytest.raises(ConflictError):
        await store.approvals.decide(OWNER, asked.approval_id, low)
    for wrong in (other, kept, replace_edit("nonsense"), replace_edit(5)):
        with pytest.raises(InvalidRequestError):
            await store.approvals.decide(OWNER, asked.approval_id, wrong)
    await store.approvals.decide(OWNER, asked.approval_id, replace_edit("2.5"))

    assert (await store.one("SELECT * FROM budgets"))["limit_pico"] == 25 * 10**11
    approval = await store.approvals.get_approval(OWNER, asked.approval_id)
    assert json.loads(approval.edited_args or "{}")["limit_usd"] == "2.5"


def replace_edit(limit: object) -> Answer:
    return Answer(approved=True, by="k", edited_args=json.dumps({"limit_usd": limit}))


async def test_a_rejection_ends_the_call(store: StoreBox) -> None:
    asked = await ask(store)

    await store.approvals.decide(OWNER, asked.approval_id, Answer(approved=False, by="key_1"))
    then = await opened(store, "run_1")

    assert isinstance(then, Withheld)
    assert then.code == "budget_exhausted"
    assert await budget(store) == (0, 0)


async def test_a_budget_that_was_raised_otherwise_answers_the_question(store: StoreBox) -> None:
    asked = await ask(store)
    await store.write(
        lambda tx: tx.run(
            "UPDATE budgets SET limit_pico = :n, updated_at = :now", n=CALL, now=2**50
        )
    )
    open_runs = await store.upkeep.open_runs(2**60, 10)

    must_open(await opened(store, "run_1"))

    assert [run.resolved_unseen for run in open_runs] == [True]
    approval = await store.approvals.get_approval(OWNER, asked.approval_id)
    assert approval.status == "expired"
    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on is None
    await check_log(store, "run_1")


async def test_a_run_that_ends_closes_its_question(store: StoreBox) -> None:
    asked = await ask(store)

    await store.steps.finalize("run_1", CANCELLED)

    approval = await store.approvals.get_approval(OWNER, asked.approval_id)
    assert approval.status == "expired"
    await check_log(store, "run_1")


async def test_a_budget_by_day_begins_anew_at_midnight(store: StoreBox) -> None:
    asked = await ask(store, period="day")

    assert asked.expires_in_ms == DAY_MS - store.clock.now % DAY_MS
    store.clock.now += DAY_MS
    await store.write(
        lambda tx: tx.run("UPDATE budgets SET limit_pico = :n, spent_pico = :n", n=CALL)
    )
    must_open(await opened(store, "run_1"))
    assert await budget(store) == (CALL, 0)


async def test_warnings_come_once_each(store: StoreBox) -> None:
    await put_budget(store, 100 * CALL)
    await store.runs.accept(new_run("run_1"))
    for turn, percent in enumerate((50, 31, 5, 10), start=1):
        attempt = await hold(store, "run_1", f"llm-{turn}-1")
        await store.steps.close(attempt, answer(bill=bill(percent * CALL)))

    warnings = [e["data"] for e in await events(store, "run_1") if e["type"] == "budget_warning"]

    assert [warning["percent"] for warning in warnings] == [80, 95]
    assert (await store.one("SELECT * FROM budgets"))["warned"] == 95


@pytest.mark.parametrize(
    ("scope", "scope_id"),
    [
        ("run", "run_1"),
        ("session", "s-run_1"),
        ("agent", "helper"),
        ("goal", "goal_top"),
        ("key", "key_1"),
        ("global", OWNER),
        ("global", "*"),
    ],
)
async def test_every_scope_bounds_what_is_its(store: StoreBox, scope: str, scope_id: str) -> None:
    await put_budget(store, CALL // 10, scope=scope, scope_id=scope_id)
    await put_goals(store)
    for run_id in ("run_1", "run_2"):
        await store.runs.accept(new_run(run_id, agent_id="helper" if run_id == "run_1" else "o"))
    await store.write(
        lambda tx: tx.run(
            "UPDATE runs SET goal_id = 'goal_low', key_id = 'key_1' WHERE run_id = 'run_1'"
        )
    )

    mine, other = await opened(store, "run_1"), await opened(store, "run_2")

    assert isinstance(mine, Withheld)
    assert isinstance(other, Withheld) is (scope == "global")


async def put_goals(store: StoreBox) -> None:
    sql = (
        "INSERT INTO goals (goal_id, owner, title, state, priority, parent_goal_id, created_at,"
        " updated_at) VALUES (:id, 'ann', 't', 'created', 'medium', :parent, 1, 1)"
    )
    await store.write(lambda tx: tx.run(sql, id="goal_top", parent=None))
    await store.write(lambda tx: tx.run(sql, id="goal_low", parent="goal_top"))


async def test_a_budget_of_a_run_bounds_the_runs_below_it(store: StoreBox) -> None:
    await put_budget(store, CALL + 1, scope="run", scope_id="run_1")
    await store.runs.accept(new_run("run_1"))
    await store.runs.accept(new_run("run_2", parent_run_id="run_1"))

    must_open(await opened(store, "run_2"))

    assert await budget(store) == (CALL, 0)
    assert isinstance(await opened(store, "run_1"), Withheld)


async def test_an_unpriced_model_is_refused_under_a_budget(store: StoreBox) -> None:
    await put_budget(store, 10 * CALL)
    await store.runs.accept(new_run("run_1"))

    with pytest.raises(StepRefusedError) as refused:
        await opened(store, "run_1", CallPlan(model="openai/new"))

    assert refused.value.reason == "price_unknown"


async def test_a_price_that_somebody_set_counts_at_once(store: StoreBox) -> None:
    await put_budget(store, 10**12)
    await store.runs.accept(new_run("run_1"))
    sql = "INSERT INTO prices VALUES ('openai/new', '3', '6', '1', 'me', 1)"
    await store.write(lambda tx: tx.run(sql))

    opening = must_open(await opened(store, "run_1", CallPlan(model="openai/new", max_output=10)))

    assert opening.price is not None
    said = opening.bound.input_tokens
    assert opening.bound.pico == said * 3_000_000 + 10 * 6_000_000


async def test_a_budget_made_meanwhile_counts_what_is_spent_then(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    attempt = await hold(store, "run_1")
    await put_budget(store, CALL)

    await store.steps.close(attempt, answer(bill=bill(99)))

    assert await budget(store) == (0, 99)
    await store.steps.finalize("run_1", DONE)
