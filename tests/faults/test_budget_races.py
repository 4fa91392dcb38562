"""Fault 37: many calls race for the last money while workers that hold some of it are killed."""

import asyncio
import json
import random

import pytest

from domain.money import to_pico
from tests.faults.books import Books
from tests.faults.conftest import sse_words
from tests.faults.races import overdrawn, set_price, watch_budgets
from tests.rig.world import World

pytestmark = pytest.mark.timeout(600)
LIMIT = "1"
MODEL = "offline/script"
_PRICE_USD = "20"
"""So that one call holds about a tenth of the budget, and costs a hundredth of what it holds."""


async def race(world: World, seed: int, runs: int, kills: int) -> Books:
    """Start runs that share a budget, kill workers among them, and look at every moment of it."""
    chance = random.Random(seed)
    _, workers = await world.apart(workers=2)
    await world.agent()
    await set_price(world, MODEL, _PRICE_USD)
    budget = {"scope": "agent", "scope_id": "helper", "limit_usd": LIMIT, "on_exhausted": "stop"}
    await world.send("POST", "/v1/budgets", budget)
    await watch_budgets(world)

    ids = await asyncio.gather(*(world.start(sse_words(20, gap_ms=15)) for _ in range(runs)))
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.3, 0.9))
        victim = workers.pop(chance.randrange(len(workers)))
        victim.kill()
        workers.append(await world.worker())
    for run_id in ids:
        await world.ended(run_id, 300)

    books = await world.check()
    assert await overdrawn(world) == [], f"seed {seed}"
    (row,) = books.tables["budgets"]
    assert (row["reserved_pico"], books.tables["holds"]) == (0, []), f"seed {seed}"
    assert row["spent_pico"] == sum(entry["cost_pico"] for entry in books.tables["usage"])
    assert row["spent_pico"] <= to_pico(LIMIT)
    return books


def how_they_ended(books: Books) -> dict[str, int]:
    ends: dict[str, int] = {}
    for run in books.runs:
        code = json.loads(run["error"])["code"] if run["error"] else run["state"]
        ends[code] = ends.get(code, 0) + 1
    return ends


async def test_runs_race_for_the_last_money(postgres_world: World, seed: int) -> None:
    """Where writers do not take turns; the heavy ones race on both databases."""
    ends = how_they_ended(await race(postgres_world, seed, runs=12, kills=1))

    assert set(ends) <= {"DONE", "budget_exhausted"}, ends
    assert ends["DONE"] >= 5, ends


@pytest.mark.heavy
@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
async def test_two_hundred_runs_race(
    world: World, postgres_world: World, seed: int, where: str
) -> None:
    made = world if where == "sqlite" else postgres_world
    ends = how_they_ended(await race(made, seed, runs=200, kills=6))
    print(f"{where}: {ends}")

    assert set(ends) <= {"DONE", "budget_exhausted"}, ends
