"""Money of external agents' calls: held where they have a price, refused where a cap needs one."""

import pytest

from domain.agent import AgentKind, Limits, agent_model
from domain.errors import StepRefusedError
from domain.run import RunSpec
from domain.step import Attempt, AwaitingBudget, CallPlan
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    OWNER,
    check_run,
    events,
    execution,
    must_open,
    new_run,
    types,
)
from tests.contract.test_store_spending import bill, budget, put_budget

MODEL = agent_model("helper")
PRICED = CallPlan(model=MODEL, input_rate=1000, output_rate=2000, max_output=1000)
UNPRICED = CallPlan(model=MODEL, max_output=1000)
STEP = "invoke-1"


async def accepted(store: StoreBox, **limits: str) -> None:
    spec = RunSpec(
        agent_kind=AgentKind.HTTP, endpoint="http://a.test", limits=Limits.model_validate(limits)
    )
    await store.runs.accept(new_run("run_1", spec=spec))


async def test_a_priced_call_is_held_and_settled_and_told_as_an_agents(store: StoreBox) -> None:
    await put_budget(store, 10**9)
    await accepted(store)

    opened = must_open(await store.steps.open(execution("run_1", STEP), PRICED))
    held = await budget(store)
    failed = bill(40, model=MODEL, error={"code": "agent_unavailable", "message": "500"})
    await store.steps.fail(Attempt("run_1", STEP, opened.attempt), failed)

    assert opened.bound.pico
    assert held == (opened.bound.pico, 0)
    assert await budget(store) == (0, 40)
    assert await store.calls.model_health() == [], "an agent has a health of its own"
    assert "llm_call_started" not in await types(store, "run_1")
    await check_run(store, "run_1")


async def test_a_budget_that_asks_is_asked_about_for_an_agent_too(store: StoreBox) -> None:
    await put_budget(store, 10, on_exhausted="ask")
    await accepted(store)

    opening = await store.steps.open(execution("run_1", STEP), PRICED)

    assert isinstance(opening, AwaitingBudget)


@pytest.mark.parametrize("cap", ["run", "budget", "above"])
async def test_an_unknown_price_is_refused_where_money_is_capped(store: StoreBox, cap: str) -> None:
    if cap == "budget":
        await put_budget(store, 10**12)
    limits = {"max_cost_usd": "1"} if cap == "run" else {}
    await accepted(store, **limits)
    if cap == "above":
        capped = RunSpec(limits=Limits(max_cost_usd="1")).model_dump_json()
        await store.runs.accept(new_run("run_2"))
        await store.set("UPDATE runs SET spec = :spec WHERE run_id = 'run_2'", spec=capped)
        await store.set(
            "UPDATE runs SET parent_run_id = 'run_2', root_run_id = 'run_2', depth = 1"
            " WHERE run_id = 'run_1'"
        )

    with pytest.raises(StepRefusedError) as refused:
        await store.steps.open(execution("run_1", STEP), UNPRICED)

    assert refused.value.reason == "price_unknown"
    assert f"/v1/models/{MODEL}/price" in refused.value.message


async def test_an_unknown_price_holds_nothing_where_money_is_not_capped(store: StoreBox) -> None:
    await accepted(store)

    opened = must_open(await store.steps.open(execution("run_1", STEP), UNPRICED))
    failed = bill(0, model=MODEL, cost_pico=None, error={"code": "agent_error", "message": "x"})
    await store.steps.fail(Attempt("run_1", STEP, opened.attempt), failed)

    run = await store.runs.get_run(OWNER, "run_1")
    assert run.usage.cost_usd is None, "unknown is not nothing"
    (done,) = [e for e in await events(store, "run_1") if e["type"] == "llm_call_done"]
    assert done["data"]["cost_usd"] is None
    await check_run(store, "run_1")
