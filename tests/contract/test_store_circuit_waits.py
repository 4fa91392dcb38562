"""How those that wait for a circuit are told when to look again, and what their runs say."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from adapters.store.database.tx import Row, Tx
from adapters.store.spending import health
from adapters.store.steps.stepbook import SqlStepBook
from domain.step import Attempt, AwaitingBudget, Opened, Withheld
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    answer,
    check_run,
    events,
    execution,
    must_open,
    new_run,
    types,
)
from tests.contract.test_store_breakers import MODEL, PLAN, RULES, book, break_once, limited
from tests.contract.test_store_probes import half_open
from tests.contract.test_store_spending import put_budget

MINUTE = 60_000
CODE = "circuit_open"


async def held(steps: SqlStepBook, run_id: str, **plan: Any) -> Withheld:
    opening = await steps.open(execution(run_id), replace(PLAN, **plan))
    assert isinstance(opening, Withheld), opening
    return opening


async def waits_of(store: StoreBox, count: int) -> list[int]:
    """Return how long each of so many calls that ask at once is told to wait."""
    now = store.clock.now

    def ask(tx: Tx) -> list[int]:
        found = [
            health.check(tx, MODEL, f"run_x:{n}", RULES.breaker, now, waits=True)
            for n in range(count)
        ]
        return [one.wait_ms or 0 for one in found if one is not None]

    waits: list[int] = await store.write(ask)
    return waits


async def test_who_asks_while_one_tries_comes_back_soon(store: StoreBox) -> None:
    steps, _ = await half_open(store)

    waits = [(await held(steps, run_id)).wait_ms or 0 for run_id in ("run_5", "run_6")]

    assert all(900 < wait < 1200 for wait in waits), waits


async def test_who_waited_for_the_one_that_tried_is_let_through_once_it_answered(
    store: StoreBox,
) -> None:
    steps, _ = await half_open(store)
    waits = [(await held(steps, run_id)).wait_ms or 0 for run_id in ("run_5", "run_6")]
    await steps.close(Attempt("run_2", "llm-1-1", 1), answer())
    store.clock.now += max(waits)

    openings = [await steps.open(execution(run_id), PLAN) for run_id in ("run_5", "run_6")]

    assert all(isinstance(opening, Opened) for opening in openings)


async def test_the_longer_one_tries_the_less_often_the_others_look(store: StoreBox) -> None:
    steps, _ = await half_open(store)
    store.clock.now += 30_000

    wait = (await held(steps, "run_5")).wait_ms or 0

    assert 6000 <= wait < 6100


async def test_a_thousand_that_wait_do_not_look_all_at_once(store: StoreBox) -> None:
    await half_open(store)

    waits = await waits_of(store, 1000)
    again = await waits_of(store, 1000)

    assert len(waits) == 1000
    assert min(b - a for a, b in pairwise(waits)) >= 25
    assert max(again) <= MINUTE, "nobody waits longer than the one that tries may take"


async def test_a_circuit_of_a_model_that_answered_just_now_may_close_at_any_moment(
    store: StoreBox,
) -> None:
    steps = await book(store, runs=5)
    early = must_open(await steps.open(execution("run_1"), PLAN))
    under_way = must_open(await steps.open(execution("run_2"), PLAN))
    await steps.close(Attempt("run_1", "llm-1-1", early.attempt), answer())
    await break_once(steps, "run_3")
    await break_once(steps, "run_4")

    first = await held(steps, "run_5")
    other = await held(steps, "run_4", has_next=True)
    await steps.close(Attempt("run_2", "llm-1-1", under_way.attempt), answer())

    assert 900 < (first.wait_ms or 0) < 1200
    assert (other.wait_ms or 0) > MINUTE - 1000, "who goes on elsewhere is told all of it"
    assert isinstance(await steps.open(execution("run_5"), PLAN), Opened)


class _Closing:
    """A transaction during which another one closes the circuit."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    def one(self, sql: str, **params: object) -> Row | None:
        return self._tx.one(sql, **params)

    def run(self, sql: str, **params: object) -> int:
        health.note_success(self._tx, MODEL, 1)
        return self._tx.run(sql, **params)


async def test_a_circuit_that_closes_in_the_moment_it_is_asked_for_holds_nobody(
    store: StoreBox,
) -> None:
    await half_open(store)

    def ask(tx: Tx) -> Withheld | None:
        closing: Any = _Closing(tx)
        return health.check(closing, MODEL, "run_x:1", RULES.breaker, store.clock.now, waits=True)

    assert await store.write(ask) is None


async def test_a_try_that_ends_with_its_run_is_left_to_another(store: StoreBox) -> None:
    steps, _ = await half_open(store)

    await steps.finalize("run_2", CANCELLED)

    assert isinstance(await steps.open(execution("run_5"), PLAN), Opened)


async def test_a_run_says_once_that_it_waits_for_its_model_and_when_it_goes_on(
    store: StoreBox,
) -> None:
    steps = await book(store, runs=3)
    await break_once(steps)
    await break_once(steps, "run_2")

    first = await held(steps, "run_3")
    await held(steps, "run_3")
    waiting = await store.runs.get_run(None, "run_3")
    await check_run(store, "run_3")
    store.clock.now += MINUTE
    must_open(await steps.open(execution("run_3"), PLAN))

    assert waiting.waiting_on == "model"
    log = await events(store, "run_3")
    (said,) = [event["data"] for event in log if event["type"] == "run_waiting"]
    assert said == {
        "waiting_on": "model",
        "reason": first.message,
        "model": MODEL,
        "code": CODE,
        "until": first.until,
    }
    assert [event["type"] for event in log][2:] == [
        "run_waiting",
        "run_resumed",
        "agent_invoke_started",
        "llm_call_started",
    ]
    await check_run(store, "run_3")


async def test_a_run_that_waits_again_says_so_again(store: StoreBox) -> None:
    steps = await book(store, runs=3)
    await break_once(steps)
    await break_once(steps, "run_2")
    for _ in range(2):
        await held(steps, "run_3")
        store.clock.now += MINUTE
        await break_once(steps, "run_3")

    kinds = await types(store, "run_3")

    assert (kinds.count("run_waiting"), kinds.count("run_resumed")) == (2, 2)
    await check_run(store, "run_3")


async def test_a_run_that_goes_to_its_next_model_waits_for_none(store: StoreBox) -> None:
    steps = await book(store, runs=3)
    await break_once(steps)
    await break_once(steps, "run_2")

    await held(steps, "run_3", has_next=True)

    assert "run_waiting" not in await types(store, "run_3")
    assert (await store.runs.get_run(None, "run_3")).waiting_on is None


@pytest.mark.parametrize(("per_minute", "said"), [(6, True), (600, False)])
async def test_a_wait_for_a_rate_is_said_when_it_is_longer_than_a_moment(
    store: StoreBox, per_minute: int, said: bool
) -> None:
    steps = await book(store, limited(requests=per_minute), runs=2)
    must_open(await steps.open(execution("run_1"), PLAN))
    await store.set("UPDATE rate_buckets SET level_milli = 0")

    await held(steps, "run_2")

    assert ("run_waiting" in await types(store, "run_2")) is said


async def test_a_run_that_may_go_on_but_lacks_money_waits_for_its_budget(store: StoreBox) -> None:
    steps = await book(store, runs=3)
    await break_once(steps)
    await break_once(steps, "run_2")
    await held(steps, "run_3", input_rate=1000, output_rate=1000)
    await put_budget(store, 10, on_exhausted="ask")
    store.clock.now += MINUTE

    priced = replace(PLAN, input_rate=1000, output_rate=1000)
    opening = await steps.open(execution("run_3"), priced)

    assert isinstance(opening, AwaitingBudget)
    assert (await store.runs.get_run(None, "run_3")).waiting_on == "budget"
    waits = [
        event["data"]["waiting_on"]
        for event in await events(store, "run_3")
        if event["type"] in ("run_waiting", "run_resumed")
    ]
    assert waits == ["model", "model", "budget"]
    await check_run(store, "run_3")


async def test_a_turn_that_comes_ends_no_wait_for_anything_else(store: StoreBox) -> None:
    """Whatever a run waits for when its turn comes, the row is as the log says."""
    steps, _ = await half_open(store)
    for run_id in ("run_a", "run_b"):
        await store.runs.accept(new_run(run_id, "talk"))
    await held(steps, "run_b")

    await steps.finalize("run_a", CANCELLED)

    assert (await store.runs.get_run(None, "run_b")).waiting_on == "model"
    await check_run(store, "run_b")


async def test_a_later_start_that_comes_ends_no_wait_for_anything_else(store: StoreBox) -> None:
    steps, _ = await half_open(store)
    await store.runs.accept(new_run("run_a", start_at=store.clock.now + MINUTE))
    await held(steps, "run_a")
    store.clock.now += 2 * MINUTE

    await steps.begin("run_a", "temporal-run_a")

    assert (await store.runs.get_run(None, "run_a")).waiting_on == "model"
    await check_run(store, "run_a")
