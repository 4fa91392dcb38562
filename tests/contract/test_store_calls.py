"""Calls that are no steps: held, billed, tied to a run, and billed at what was held when lost."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from domain.agent import Limits
from domain.chat import TokenUsage
from domain.errors import (
    BudgetExhaustedError,
    CircuitOpenError,
    ModelRateLimitedError,
    NotFoundError,
    PriceUnknownError,
    RunTerminalError,
)
from domain.money import to_usd
from domain.run import RunSpec
from domain.spending import NewCall
from domain.step import CallBill
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import CANCELLED, OWNER, check_log, events, new_run
from tests.contract.test_store_spending import budget, put_budget

MODEL = "openai/small"
PICO = 1_000_000


def call(number: int = 1, **fields: Any) -> NewCall:
    made = NewCall(
        call_id=f"call_{number}",
        owner=OWNER,
        key_id="key_1",
        run_id=None,
        model=MODEL,
        input_tokens=100,
        output_tokens=50,
        pico=PICO,
        max_seconds=300.0,
    )
    return replace(made, **fields)


def bill(pico: int | None = 7, **fields: Any) -> CallBill:
    usage = TokenUsage(input_tokens=9, output_tokens=3, cached_tokens=1)
    made = CallBill(model=MODEL, usage=usage, cost_pico=pico, estimated=False, latency_ms=4)
    return replace(made, **fields)


async def ledger(store: StoreBox) -> list[Any]:
    return list(await store.all("SELECT * FROM usage ORDER BY created_at"))


async def test_a_call_is_on_the_ledger_once(store: StoreBox) -> None:
    await put_budget(store, 10 * PICO, scope="key", scope_id="key_1")

    await store.calls.open_call(call())
    held = await budget(store)
    await store.calls.close_call("call_1", bill())
    await store.calls.close_call("call_1", bill(9))

    (row,) = await ledger(store)
    assert held == (PICO, 0)
    assert await budget(store) == (0, 7)
    assert (row["run_id"], row["key_id"], row["cost_pico"]) == ("call_1", "key_1", 7)
    assert (row["input_tokens"], bool(row["estimated"]), row["error_code"]) == (9, False, None)


async def test_calls_that_race_for_the_last_money_never_get_more(store: StoreBox) -> None:
    await put_budget(store, 10 * PICO + 1)

    async def try_open(number: int) -> bool:
        try:
            await store.calls.open_call(call(number))
        except BudgetExhaustedError:
            return False
        return True

    won = await asyncio.gather(*(try_open(number) for number in range(40)))

    assert sum(won) == 10
    assert await budget(store) == (10 * PICO, 0)


async def test_why_a_model_was_chosen_is_told_before_its_call(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    why = {"kind": "tier", "tier": "simple", "reason": "asked for by name"}

    await store.calls.open_call(call(run_id="run_1", route=why))

    told = [(e["type"], e["data"]) for e in await events(store, "run_1")][-2:]
    assert told[0] == ("route_decided", why)
    assert told[1][0] == "llm_call_started"
    await check_log(store, "run_1")


async def test_a_call_of_a_run_is_in_its_log_and_totals(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", spec=RunSpec(models=(MODEL,))))
    await put_budget(store, 10 * PICO, scope="agent", scope_id="helper")

    await store.calls.open_call(call(run_id="run_1"))
    held = await store.one("SELECT * FROM runs")
    await store.calls.close_call("call_1", bill())

    assert (held["reserved_pico"], held["reserved_tokens"]) == (PICO, 150)
    run = await store.runs.get_run(OWNER, "run_1")
    assert (run.usage.cost_usd, run.usage.model_calls, run.usage.turns) == (to_usd(7), 1, 0)
    assert await budget(store) == (0, 7)
    log = await events(store, "run_1")
    assert [e["data"]["step"] for e in log if e["type"].startswith("llm_call")] == ["call_1"] * 2
    (row,) = await ledger(store)
    assert (row["run_id"], row["step_id"], row["agent_id"]) == ("run_1", "call_1", "helper")
    await check_log(store, "run_1")


@pytest.mark.parametrize("limits", [{"max_cost_usd": to_usd(PICO - 1)}, {"max_tokens": 49}])
async def test_the_caps_of_a_run_hold_for_its_calls(
    store: StoreBox, limits: dict[str, Any]
) -> None:
    await store.runs.accept(new_run("run_1", spec=RunSpec(limits=Limits(**limits))))

    with pytest.raises(BudgetExhaustedError, match="max_"):
        await store.calls.open_call(call(run_id="run_1"))

    assert await store.all("SELECT * FROM holds") == []


async def test_the_caps_above_a_run_hold_too(store: StoreBox) -> None:
    spec = RunSpec(limits=Limits(max_cost_usd=to_usd(PICO + 1)))
    await store.runs.accept(new_run("run_1", spec=spec))
    await store.write(lambda tx: tx.run("UPDATE runs SET spawned = 1"))
    await store.runs.accept(new_run("run_2", parent_run_id="run_1"))

    await store.calls.open_call(call(1, run_id="run_2"))

    with pytest.raises(BudgetExhaustedError):
        await store.calls.open_call(call(2, run_id="run_2"))


async def test_no_call_is_made_for_a_run_that_is_not_there_or_over(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.steps.finalize("run_1", CANCELLED)

    with pytest.raises(NotFoundError):
        await store.calls.open_call(call(run_id="run_9"))
    with pytest.raises(NotFoundError):
        await store.calls.open_call(call(run_id="run_1", owner="bob"))
    with pytest.raises(RunTerminalError):
        await store.calls.open_call(call(run_id="run_1"))


async def test_a_run_that_ends_first_is_billed_what_is_held(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.calls.open_call(call(run_id="run_1"))

    await store.steps.finalize("run_1", CANCELLED)
    await store.calls.close_call("call_1", bill())

    (row,) = await ledger(store)
    assert (row["cost_pico"], bool(row["estimated"]), row["error_code"]) == (
        PICO,
        True,
        "call_lost",
    )
    run = await store.one("SELECT * FROM runs")
    assert (run["cost_pico"], run["reserved_pico"], run["reserved_tokens"]) == (PICO, 0, 0)
    await check_log(store, "run_1")


@pytest.mark.parametrize("run_id", [None, "run_1"])
async def test_a_call_that_nobody_closes_expires(store: StoreBox, run_id: str | None) -> None:
    await store.runs.accept(new_run("run_1"))
    await put_budget(store, 10 * PICO)
    await store.calls.open_call(call(run_id=run_id))

    soon = await store.calls.expire_calls()
    store.clock.now += 300_001
    late = await store.calls.expire_calls()

    assert (soon, late) == (0, 1)
    (row,) = await ledger(store)
    assert (row["cost_pico"], bool(row["estimated"])) == (PICO, True)
    assert await budget(store) == (0, PICO)
    assert await store.all("SELECT * FROM holds") == []
    await check_log(store, "run_1")


async def test_an_unpriced_call_is_made_unless_money_is_capped(store: StoreBox) -> None:
    await store.calls.open_call(call(1, pico=None))
    await store.calls.close_call("call_1", bill(None))
    await put_budget(store, 10 * PICO)

    with pytest.raises(PriceUnknownError):
        await store.calls.open_call(call(2, pico=None))

    (row,) = await ledger(store)
    assert row["cost_pico"] is None


async def test_a_price_that_was_set_counts_for_calls(store: StoreBox) -> None:
    await put_budget(store, 10**12)
    sql = "INSERT INTO prices VALUES ('openai/small', '3', '6', '1', 'me', 1)"
    await store.write(lambda tx: tx.run(sql))

    opened = await store.calls.open_call(call(pico=None))

    assert opened.price is not None
    assert await budget(store) == (100 * 3_000_000 + 50 * 6_000_000, 0)


async def test_failures_of_calls_open_the_circuit_for_all(store: StoreBox) -> None:
    broken = {"code": "model_unavailable", "message": "503"}
    for number in range(3):
        await store.calls.open_call(call(number))
        await store.calls.close_call(f"call_{number}", bill(0, error=broken))

    with pytest.raises(CircuitOpenError) as refused:
        await store.calls.open_call(call(9))

    assert refused.value.retry_after is not None
    (health,) = await store.calls.model_health()
    assert (health.model, health.state, health.circuit) == (MODEL, "degraded", "open")
    assert health.error_class == "server_error"


async def test_a_told_wait_keeps_everybody_away(store: StoreBox) -> None:
    told = {"code": "model_rate_limited", "message": "429"}
    await store.calls.open_call(call(1))
    await store.calls.close_call("call_1", bill(0, error=told, retry_after_ms=5000))

    with pytest.raises(ModelRateLimitedError) as refused:
        await store.calls.open_call(call(2))
    store.clock.now += 5000
    await store.calls.open_call(call(3))

    assert refused.value.retry_after is not None
    assert 0 < refused.value.retry_after.total_seconds() <= 5
