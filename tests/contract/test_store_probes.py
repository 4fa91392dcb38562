"""Whose call a probe is, what is noted of a model that is well, and tokens that come back."""

from dataclasses import replace

import pytest

from adapters.store.spending.callbook import SqlCallBook
from adapters.store.steps.stepbook import SqlStepBook
from domain.chat import TokenUsage
from domain.spending import NewCall, SpendingRules
from domain.step import Attempt, Opened, Withheld
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import OWNER, answer, bill, execution, must_open
from tests.contract.test_store_breakers import MODEL, PLAN, RULES, book, break_once, limited

HELD = 10_000
"""Tokens that a call of these tests takes of a rate."""


async def half_open(store: StoreBox, runs: int = 6) -> tuple[SqlStepBook, Attempt]:
    """Open the circuit while the call of `run_1` is under way; `run_2` probes it then."""
    steps = await book(store, runs=runs)
    early = must_open(await steps.open(execution("run_1"), PLAN))
    await break_once(steps, "run_3")
    await break_once(steps, "run_4")
    store.clock.now += 60_000
    must_open(await steps.open(execution("run_2"), PLAN))
    return steps, Attempt("run_1", "llm-1-1", early.attempt)


@pytest.mark.parametrize("how", ["released", "failed"])
async def test_what_another_call_ends_with_leaves_the_probe_its_try(
    store: StoreBox, how: str
) -> None:
    steps, early = await half_open(store)
    if how == "released":
        await steps.release(early)
    else:
        error = {"code": "model_bad_request", "message": "400"}
        await steps.fail(early, bill(model=MODEL, cost_pico=0, error=error))

    assert isinstance(await steps.open(execution("run_5"), PLAN), Withheld)


async def test_a_probe_whose_worker_died_is_tried_by_the_same_call(store: StoreBox) -> None:
    steps, _ = await half_open(store)

    again = await steps.open(execution("run_2"), PLAN)

    assert isinstance(again, Opened)
    assert again.attempt == 2


async def test_a_model_that_only_ever_answered_is_healthy(store: StoreBox) -> None:
    steps = await book(store)
    opened = must_open(await steps.open(execution("run_1"), PLAN))

    await steps.close(Attempt("run_1", "llm-1-1", opened.attempt), answer())

    (health,) = await store.calls.model_health()
    assert (health.model, health.state, health.circuit) == (MODEL, "healthy", "closed")
    assert health.last_ok_at is not None


async def test_tokens_that_a_step_did_not_use_are_there_for_others(store: StoreBox) -> None:
    steps = await book(store, limited(tokens=500), runs=3)
    first = must_open(await steps.open(execution("run_1"), PLAN))
    must_open(await steps.open(execution("run_2"), PLAN))
    assert isinstance(await steps.open(execution("run_3"), PLAN), Withheld)

    used = bill(model=MODEL, cost_pico=0, usage=TokenUsage(input_tokens=10, output_tokens=5))
    closing = replace(answer(), bill=used)
    await steps.close(Attempt("run_1", "llm-1-1", first.attempt), closing)

    assert isinstance(await steps.open(execution("run_3"), PLAN), Opened)


async def call(calls: SqlCallBook, call_id: str) -> None:
    await calls.open_call(
        NewCall(
            call_id=call_id,
            owner=OWNER,
            key_id=None,
            run_id=None,
            model=MODEL,
            input_tokens=HELD // 2,
            output_tokens=HELD // 2,
            pico=0,
            max_seconds=60,
        )
    )


async def test_tokens_that_a_call_did_not_use_are_there_for_others(store: StoreBox) -> None:
    rules = SpendingRules(RULES.breaker, {f"{MODEL}:tokens": HELD})
    calls = SqlCallBook(store.engine, store.clock, rules=rules)
    await call(calls, "call_1")
    used = bill(model=MODEL, cost_pico=0, usage=TokenUsage(input_tokens=0, output_tokens=0))
    await calls.close_call("call_1", used)
    await call(calls, "call_2")

    await calls.close_call("call_2", replace(used, estimated=True))

    left = await store.one("SELECT level_milli FROM rate_buckets")
    assert left is not None
    assert left["level_milli"] < HELD * 1000 // 2, "what was cut may have used all of it"
