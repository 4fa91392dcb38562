"""The contract of `PinBook`, and of what a choice reads besides: budgets and the last turns."""

from decimal import Decimal
from typing import Any

import httpx2
import pytest

from api.app import create_app, drain
from domain.bounds import PriceOverride
from domain.budget import DAY_MS, Budget, BudgetScope, OnExhausted, Period
from domain.errors import NotFoundError
from domain.learning.books import Asker, Learnt, Turns
from domain.learning.feedback import Feedback
from domain.learning.pins import Pin
from domain.principal import LOCAL_OWNER
from tests.contract.store_api import QuietGateway, ports_over
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import DONE, OWNER, new_run
from tests.fakes.clock import NOW
from tests.fakes.world import World, fake_config

PIN = Pin(OWNER, "tutor", "ann (key_1)", NOW)


async def test_an_owner_has_one_pin_at_most_and_the_last_one_counts(store: StoreBox) -> None:
    await store.pins.put_pin(Pin(OWNER, "cook", "ann", NOW - 1))
    await store.pins.put_pin(PIN)

    assert await store.pins.get_pin(OWNER) == PIN
    assert (await store.learning.standing(Asker(OWNER))).pinned == "tutor"
    assert (await store.learning.standing(Asker("bob"))).pinned is None
    assert len(await store.all("SELECT * FROM agent_pins")) == 1


async def test_a_pin_is_its_owners_and_is_gone_once_it_is_deleted(store: StoreBox) -> None:
    await store.pins.put_pin(PIN)

    for act in (store.pins.get_pin, store.pins.delete_pin):
        with pytest.raises(NotFoundError, match="PUT /v1/preferences/agent"):
            await act("bob")
    await store.pins.delete_pin(OWNER)

    with pytest.raises(NotFoundError):
        await store.pins.get_pin(OWNER)
    assert (await store.learning.standing(Asker(OWNER))).pinned is None


async def budget(
    store: StoreBox, scope: BudgetScope, scope_id: str, spent: str, **fields: Any
) -> None:
    """Make a budget of 100 pUSD a day, of which `spent` went today."""
    name = f"budget_{scope}_{scope_id}"
    await store.budgets.put_budget(
        Budget(
            budget_id=name,
            owner=OWNER,
            scope=scope,
            scope_id=scope_id,
            period=Period.DAY,
            created_at=1,
            updated_at=1,
            **{"limit_usd": "0.0000000001", "on_exhausted": OnExhausted.STOP, **fields},
        )
    )
    await store.set(f"UPDATE budgets SET spent_pico = {spent} WHERE budget_id = :name", name=name)


async def test_what_is_spent_is_that_of_the_budget_nearest_to_its_end(store: StoreBox) -> None:
    await budget(store, BudgetScope.GLOBAL, OWNER, "10")
    await budget(store, BudgetScope.SESSION, "s1", "20")
    await budget(store, BudgetScope.GOAL, "goal_1", "30")
    await budget(store, BudgetScope.KEY, "key_1", "40")
    await budget(store, BudgetScope.KEY, "key_2", "90")
    askers = [
        Asker(OWNER),
        Asker(OWNER, session_id="s1"),
        Asker(OWNER, "s1", "goal_1"),
        Asker(OWNER, "s1", "goal_1", "key_1"),
    ]

    shares = [(await store.learning.standing(asker)).spent for asker in askers]

    assert shares == [0.1, 0.2, 0.3, 0.4]


async def test_what_was_spent_of_a_days_budget_yesterday_holds_no_agent_back(
    store: StoreBox,
) -> None:
    await budget(store, BudgetScope.AGENT, "helper", "100")
    before = await store.learning.standing(Asker(OWNER))

    store.clock.now += DAY_MS

    assert before.budget_used == {"helper": 1.0}
    assert (await store.learning.standing(Asker(OWNER))).budget_used == {"helper": 0.0}


async def test_what_is_left_is_that_of_agents_budgets_that_stop_whatever_is_held(
    store: StoreBox,
) -> None:
    price = PriceOverride(Decimal(1), Decimal(2), Decimal("0.5"))
    await store.prices.put_price("openai/gpt-x", price, "ann")
    await budget(store, BudgetScope.AGENT, "poor", "0", limit_usd="0")
    await budget(store, BudgetScope.AGENT, "asking", "10", on_exhausted=OnExhausted.ASK)
    asked = await store.learning.standing(Asker("bob"))
    await budget(store, BudgetScope.AGENT, "helper", "40")
    await store.set("UPDATE budgets SET reserved_pico = 60 WHERE scope_id = 'helper'")

    standing = await store.learning.standing(Asker(OWNER))

    assert standing.budget_used == {"poor": 1.0, "asking": 0.1, "helper": 1.0}
    assert standing.left == {"poor": 0, "helper": 60}
    assert standing.prices == {"openai/gpt-x": price}
    assert (asked.left, asked.prices) == ({}, {})


async def said(store: StoreBox, run_id: str, **fields: Any) -> None:
    """Let a run of session `s` be asked something, and end."""
    await store.runs.accept(new_run(run_id, session_id="s", **fields))
    await store.steps.finalize(run_id, DONE)


async def test_the_last_turns_are_the_last_messages_and_whose_they_were(store: StoreBox) -> None:
    for number in range(4):
        await said(store, f"run_{number}", content=f"m{number}" + "x" * 3000)
    await said(store, "run_4", content="the last", agent_id="tutor")

    turns = await store.learning.turns(OWNER, "s")

    assert [words[:2] for words in turns.recent] == ["m2", "m3", "th"]
    assert [len(words) for words in turns.recent] == [2000, 2000, 8]
    assert (turns.agent_id, turns.is_disliked) == ("tutor", False)
    assert await store.learning.turns("bob", "s") == Turns()
    assert await store.learning.turns(OWNER, "new") == Turns()


async def test_the_words_of_strangers_have_no_say(store: StoreBox) -> None:
    await said(store, "run_1", content="mine")
    await said(store, "run_2", content="theirs")
    await store.set("UPDATE messages SET untrusted = true WHERE run_id = 'run_2'")
    await said(store, "run_3", content="")
    await said(store, "run_4", content="a result")
    await store.set("UPDATE messages SET role = 'tool' WHERE run_id = 'run_4'")

    assert await store.learning.turns(OWNER, "s") == Turns(("mine",), "helper")


async def test_a_turn_is_disliked_by_what_was_said_of_it_last(store: StoreBox) -> None:
    await said(store, "run_1")
    seen = []
    for number, score in enumerate((-0.5, 0.5)):
        store.clock.now += 1
        rating = Feedback(f"fb_{number}", OWNER, "run_1", score, "ann")
        await store.learning.keep(OWNER, Learnt(feedback=rating))
        seen.append((await store.learning.turns(OWNER, "s")).is_disliked)

    assert seen == [True, False]


async def test_a_pin_over_http_decides_the_next_run(store: StoreBox) -> None:
    world = World()
    for agent_id in ("cook", "tutor"):
        agent = world.add_agent(agent_id, description=f"what a {agent_id} does")
        await store.directory.put_agent(agent, replace=False)
    app = create_app(ports_over(store, world.ports(), QuietGateway()), fake_config())
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        made = await client.put("/v1/preferences/agent", json={"agent_id": "tutor"})
        run = (await client.post("/v1/runs", json={"input": "what does a cook do"})).json()
        route = (await client.get(f"/v1/runs/{run['run_id']}/route")).json()

    await drain(app, 5)
    assert made.status_code == 200, made.text
    assert (await store.pins.get_pin(LOCAL_OWNER)).agent_id == "tutor"
    assert run["agent_id"] == "tutor"
    assert route["decisions"][0]["reason"] == "tutor is pinned"
