"""Circuits per model and rates per provider, in the opening transaction: one for all workers."""

import asyncio
from dataclasses import replace

import pytest

from adapters.store.spending.callbook import SqlCallBook
from adapters.store.steps.stepbook import SqlStepBook
from domain.learning.books import Asker, Standing
from domain.spending import BreakerRules, SpendingRules
from domain.step import Attempt, CallPlan, Opened, Withheld
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import answer, bill, execution, must_open, new_run

MODEL = "openai/first"
PLAN = CallPlan(model=MODEL, input_rate=0, output_rate=0, max_output=100)
RULES = SpendingRules(BreakerRules(failures=2, cooldown_ms=60_000))
BROKEN = {"code": "model_unavailable", "message": "503"}


async def book(store: StoreBox, rules: SpendingRules = RULES, runs: int = 1) -> SqlStepBook:
    for number in range(1, runs + 1):
        await store.runs.accept(new_run(f"run_{number}"))
    return SqlStepBook(store.engine, store.clock, rules=rules)


async def break_once(steps: SqlStepBook, run_id: str = "run_1", code: str = "") -> None:
    opened = must_open(await steps.open(execution(run_id), PLAN))
    error = {**BROKEN, "code": code} if code else BROKEN
    failed = bill(model=MODEL, cost_pico=0, error=error)
    await steps.fail(Attempt(run_id, "llm-1-1", opened.attempt), failed)


async def test_enough_failures_open_the_circuit_and_one_probe_closes_it(store: StoreBox) -> None:
    steps = await book(store, runs=4)
    await break_once(steps)
    await break_once(steps, "run_2")

    shut = [await steps.open(execution(f"run_{n}"), PLAN) for n in (3, 4)]
    store.clock.now += 60_000
    tries = [await steps.open(execution(f"run_{n}"), PLAN) for n in (3, 4)]
    (probe,) = [opening for opening in tries if isinstance(opening, Opened)]
    await steps.close(Attempt("run_3", "llm-1-1", probe.attempt), answer())

    assert [o.code for o in shut if isinstance(o, Withheld)] == ["circuit_open"] * 2
    assert sum(isinstance(opening, Withheld) for opening in tries) == 1
    assert isinstance(await steps.open(execution("run_4"), PLAN), Opened)
    (health,) = await store.calls.model_health()
    assert (health.state, health.circuit, health.failures) == ("healthy", "closed", 0)
    assert health.last_ok_at is not None


async def test_a_probe_that_fails_opens_the_circuit_again(store: StoreBox) -> None:
    steps = await book(store, runs=3)
    await break_once(steps)
    await break_once(steps, "run_2")
    store.clock.now += 60_000

    await break_once(steps, "run_3")

    again = await steps.open(execution("run_1"), PLAN)
    assert isinstance(again, Withheld)
    assert again.wait_ms is not None
    assert 50_000 < again.wait_ms <= 60_000


async def test_a_choice_of_agents_knows_which_models_take_no_calls(store: StoreBox) -> None:
    steps = await book(store, runs=3)
    await break_once(steps)
    once = await store.learning.standing(Asker("bob"))
    await break_once(steps, "run_2")
    broken = await store.learning.standing(Asker("bob"))
    store.clock.now += 60_000
    waiting = await store.learning.standing(Asker("bob"))
    must_open(await steps.open(execution("run_3"), PLAN))
    probing = await store.learning.standing(Asker("bob"))

    assert once == waiting == Standing()
    assert broken == Standing(open_models=frozenset({MODEL}))
    assert probing == Standing(probing_models=frozenset({MODEL}))


async def test_only_one_of_many_workers_probes(store: StoreBox) -> None:
    steps = await book(store, runs=12)
    await break_once(steps)
    await break_once(steps, "run_2")
    store.clock.now += 60_000

    openings = await asyncio.gather(
        *(steps.open(execution(f"run_{n}"), PLAN) for n in range(3, 13))
    )

    assert sum(isinstance(opening, Opened) for opening in openings) == 1


async def test_a_success_between_failures_counts_anew(store: StoreBox) -> None:
    steps = await book(store, runs=4)
    await break_once(steps)
    opened = must_open(await steps.open(execution("run_2"), PLAN))
    await steps.close(Attempt("run_2", "llm-1-1", opened.attempt), answer())
    await break_once(steps, "run_3")

    assert isinstance(await steps.open(execution("run_4"), PLAN), Opened)


@pytest.mark.parametrize("code", ["model_bad_request", "internal_error", "reply_too_large"])
async def test_what_says_nothing_of_the_model_opens_nothing(store: StoreBox, code: str) -> None:
    steps = await book(store, runs=4)
    for number in (1, 2, 3):
        await break_once(steps, f"run_{number}", code)

    assert isinstance(await steps.open(execution("run_4"), PLAN), Opened)


async def test_breakers_can_be_switched_off(store: StoreBox) -> None:
    steps = await book(store, SpendingRules(BreakerRules(failures=0)), runs=5)
    for number in range(1, 5):
        await break_once(steps, f"run_{number}")

    assert isinstance(await steps.open(execution("run_5"), PLAN), Opened)


async def test_a_drained_probe_leaves_the_try_to_another(store: StoreBox) -> None:
    steps = await book(store, runs=4)
    await break_once(steps)
    await break_once(steps, "run_2")
    store.clock.now += 60_000
    probe = must_open(await steps.open(execution("run_3"), PLAN))

    await steps.release(Attempt("run_3", "llm-1-1", probe.attempt))

    assert isinstance(await steps.open(execution("run_4"), PLAN), Opened)


async def test_other_models_are_not_meant(store: StoreBox) -> None:
    steps = await book(store, runs=3)
    await break_once(steps)
    await break_once(steps, "run_2")
    other = replace(PLAN, model="openai/second")

    assert isinstance(await steps.open(execution("run_3", "llm-1-2"), other), Opened)


def limited(**per_minute: int) -> SpendingRules:
    named = {f"openai:{what}": amount for what, amount in per_minute.items()}
    return SpendingRules(per_minute=named)


async def test_a_provider_gets_no_more_requests_a_minute_than_it_takes(store: StoreBox) -> None:
    steps = await book(store, limited(requests=3), runs=10)
    going_on = replace(PLAN, has_next=True)

    openings = await asyncio.gather(
        *(steps.open(execution(f"run_{n}"), going_on) for n in range(1, 9))
    )
    refused = [o for o in openings if isinstance(o, Withheld)]
    store.clock.now += 20_000
    later = [await steps.open(execution(f"run_{n}"), PLAN) for n in (9, 10)]

    assert len(refused) == 5
    assert {o.code for o in refused} == {"model_rate_limited"}
    assert all(0 < (o.wait_ms or 0) <= 20_000 for o in refused), "who goes on keeps no place"
    assert [isinstance(opening, Opened) for opening in later] == [True, False]


async def test_who_asks_first_has_it_first(store: StoreBox) -> None:
    steps = await book(store, limited(requests=3), runs=7)

    openings = [await steps.open(execution(f"run_{n}"), PLAN) for n in range(1, 7)]
    waits = [opening.wait_ms or 0 for opening in openings if isinstance(opening, Withheld)]
    store.clock.now += 20_000
    too_late = await steps.open(execution("run_7"), PLAN)
    too_soon = await steps.open(execution("run_5"), PLAN)
    first = await steps.open(execution("run_4"), PLAN)

    assert [round(wait / 10_000) for wait in waits] == [2, 4, 6], "no two come back at once"
    assert isinstance(too_late, Withheld)
    assert round((too_late.wait_ms or 0) / 10_000) == 6
    assert isinstance(too_soon, Withheld)
    assert round((too_soon.wait_ms or 0) / 10_000) == 2
    assert isinstance(first, Opened)


async def test_a_place_in_the_line_is_lost_by_who_does_not_come_back(store: StoreBox) -> None:
    steps = await book(store, limited(requests=1), runs=3)
    await steps.open(execution("run_1"), PLAN)
    assert isinstance(await steps.open(execution("run_2"), PLAN), Withheld)

    store.clock.now += 60_000 + 11_000

    assert isinstance(await steps.open(execution("run_3"), PLAN), Opened)


async def test_tokens_are_counted_as_well(store: StoreBox) -> None:
    steps = await book(store, limited(tokens=500), runs=3)

    openings = [await steps.open(execution(f"run_{n}"), PLAN) for n in (1, 2, 3)]

    assert [isinstance(opening, Opened) for opening in openings] == [True, True, False]


async def test_a_call_larger_than_a_bucket_takes_a_full_one(store: StoreBox) -> None:
    steps = await book(store, limited(tokens=10), runs=2)

    first = await steps.open(execution("run_1"), PLAN)
    second = await steps.open(execution("run_2"), PLAN)

    assert isinstance(first, Opened)
    assert isinstance(second, Withheld)


async def test_a_rate_of_one_model_leaves_the_others(store: StoreBox) -> None:
    rules = SpendingRules(per_minute={f"{MODEL}:requests": 1})
    steps = await book(store, rules, runs=3)
    calls = SqlCallBook(store.engine, store.clock, rules=rules)

    await steps.open(execution("run_1"), PLAN)

    assert isinstance(await steps.open(execution("run_2"), PLAN), Withheld)
    other = replace(PLAN, model="openai/second")
    assert isinstance(await steps.open(execution("run_3"), other), Opened)
    assert await calls.model_health() == []
