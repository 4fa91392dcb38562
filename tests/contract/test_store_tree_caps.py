"""Caps that hold for a whole tree: what calls of others hold of one is waited for, never taken."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from domain.agent import Limits
from domain.bounds import USEFUL_TOKENS
from domain.errors import BudgetExhaustedError, StepRefusedError
from domain.money import to_usd
from domain.run import RunSpec
from domain.step import CallPlan, Opened, Withheld
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import MODEL, OWNER, answer, check_log, must_open, new_run
from tests.contract.test_store_calls import call
from tests.contract.test_store_spending import CALL, PLAN, bill, hold, opened

FREE = CallPlan(model="ollama/small", input_rate=0, output_rate=0)


async def family(store: StoreBox, children: int, **caps: Any) -> list[str]:
    """Put a run with caps on record and runs below it, which have none; return these."""
    spec = RunSpec(models=(MODEL,), limits=Limits(**caps))
    await store.runs.accept(new_run("run_0", spec=spec))
    await store.set("UPDATE runs SET spawned = :n", n=children)
    below = [f"run_{n}" for n in range(1, children + 1)]
    for run_id in below:
        await store.runs.accept(new_run(run_id, parent_run_id="run_0"))
    return below


async def is_busy(store: StoreBox, run_id: str, plan: CallPlan = PLAN) -> bool:
    opening = await opened(store, run_id, plan)
    return isinstance(opening, Withheld) and opening.code == "budget_busy"


async def refusal(store: StoreBox, run_id: str, plan: CallPlan = PLAN) -> str:
    with pytest.raises(StepRefusedError) as refused:
        await opened(store, run_id, plan)
    return refused.value.reason


@pytest.mark.parametrize(
    "caps",
    [{"max_cost_usd": to_usd(CALL + CALL // 10)}, {"max_tokens": 1200}],
    ids=["usd", "tokens"],
)
async def test_what_a_sibling_holds_is_waited_for(store: StoreBox, caps: dict[str, Any]) -> None:
    first, second = await family(store, 2, **caps)
    attempt = await hold(store, first)

    waits = [await is_busy(store, second), await is_busy(store, "run_0")]
    await store.steps.close(attempt, replace(answer(), bill=bill(CALL // 100)))

    assert waits == [True, True]
    must_open(await opened(store, second))
    await check_log(store, second)


@pytest.mark.parametrize(
    ("caps", "reason"),
    [
        ({"max_cost_usd": to_usd(CALL + CALL // 20)}, "max_cost_usd"),
        ({"max_tokens": 15}, "max_tokens"),
    ],
    ids=["usd", "tokens"],
)
async def test_what_a_sibling_used_is_not_waited_for(
    store: StoreBox, caps: dict[str, Any], reason: str
) -> None:
    first, second = await family(store, 2, **caps)
    await store.steps.close(await hold(store, first), replace(answer(), bill=bill(CALL)))

    assert await refusal(store, second) == reason
    await hold_anything(store, first)
    assert await refusal(store, second) == reason, "whatever is held besides"


async def hold_anything(store: StoreBox, run_id: str) -> None:
    await store.set(
        "UPDATE runs SET reserved_pico = 1, reserved_tokens = 1 WHERE run_id = :id", id=run_id
    )


async def test_no_reply_is_cut_short_because_others_hold_the_rest(store: StoreBox) -> None:
    (only,) = await family(store, 1, max_tokens=USEFUL_TOKENS + 1)
    await store.set("UPDATE runs SET reserved_tokens = 2 WHERE run_id = 'run_0'")

    assert await is_busy(store, only)

    await store.set("UPDATE runs SET reserved_tokens = 1 WHERE run_id = 'run_0'")
    opening = must_open(await opened(store, only))
    assert (opening.bound.output_tokens, opening.cut_by) == (USEFUL_TOKENS, "max_tokens")


async def test_a_call_that_costs_nothing_needs_no_money_that_is_held(store: StoreBox) -> None:
    first, second = await family(store, 2, max_cost_usd=to_usd(CALL))
    await hold(store, first)

    assert isinstance(await opened(store, second, FREE), Opened)


async def test_children_that_race_share_the_cap_of_their_root(store: StoreBox) -> None:
    children = await family(store, 6, max_cost_usd=to_usd(CALL * 5 // 2))

    openings = await asyncio.gather(*(opened(store, run_id) for run_id in children))

    held = [o.bound.pico or 0 for o in openings if isinstance(o, Opened)]
    waiting = [o.code for o in openings if isinstance(o, Withheld)]
    assert sum(held) <= 2.5 * CALL
    assert len(held) == 3, "two whole calls and one that is cut"
    assert waiting == ["budget_busy"] * 3


async def test_a_call_of_a_client_is_held_to_the_caps_above_its_run(store: StoreBox) -> None:
    (only,) = await family(store, 1, max_tokens=49)

    with pytest.raises(BudgetExhaustedError, match="run_0 leaves 49 tokens"):
        await store.calls.open_call(call(run_id=only))


async def test_under_a_cap_in_money_above_it_a_run_asks_nobody_without_a_price(
    store: StoreBox,
) -> None:
    (only,) = await family(store, 1, max_cost_usd="1")
    unknown = CallPlan(model="ollama/strange", input_rate=None, output_rate=None)

    assert await refusal(store, only, unknown) == "price_unknown"


async def test_nobody_waits_for_the_agent_that_waits_for_him(store: StoreBox) -> None:
    """An external agent asks another one: what its own invocation holds does not come free."""
    (child,) = await family(store, 1, max_tokens=1000)
    must_open(await opened(store, "run_0", PLAN, "invoke-1"))

    assert await refusal(store, child) == "max_tokens"


async def test_a_run_that_waited_for_its_model_says_so_no_more_behind_a_cap(
    store: StoreBox,
) -> None:
    first, second = await family(store, 2, max_tokens=1200)
    await hold(store, first)
    await store.set("UPDATE runs SET waiting_on = 'model' WHERE run_id = :id", id=second)

    assert await is_busy(store, second)

    assert (await store.runs.get_run(OWNER, second)).waiting_on is None
