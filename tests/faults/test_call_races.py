"""Fault 37 through `/v1/chat/completions`: calls race for the last money while the API is killed.

A call that is lost with its process is billed at what was held for it, which is a tenth of the
budget here: after each kill somebody raises the budget, so that the race goes on.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from domain.money import to_pico, to_usd
from tests.faults.books import Books
from tests.faults.product import StubProcess
from tests.faults.races import overdrawn, set_price, watch_budgets
from tests.rig.waiting import AWAY, until
from tests.rig.world import World

pytestmark = pytest.mark.timeout(600)
MODEL = "openai/racer"
CAP = 1000
"""Output tokens of a call: what is held for it. The answer has 20."""
RATE = 20_000_000
"""Picodollars a token, in and out: 20 USD a million."""
LIMIT = to_pico("0.23")
"""Ten calls hold this much, with 150 bytes of request each."""
_BODY = {
    "model": MODEL,
    "stream": True,
    "max_tokens": CAP,
    "messages": [{"role": "user", "content": "[[tokens=20 gap_ms=15]] run"}],
}
LONGEST_SECONDS = "6"
"""So that what a killed process held comes free soon."""


@dataclass
class Race:
    """Callers who ask until they are answered, or until the race is over."""

    world: World
    callers: int
    ends: Counter[str] = field(default_factory=Counter)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    is_over: bool = False
    streaming: int = 0

    async def call(self, chance: random.Random) -> None:
        """Be one of them."""
        while True:
            end = "away"
            with suppress(*AWAY):
                end = await self._ask()
            self.ends[end] += 1
            if end == "answered" or self.is_over:
                return
            await asyncio.sleep(chance.uniform(0.05, 0.3))

    async def _ask(self) -> str:
        url = f"{self.world.url}/v1/chat/completions"
        async with self.world.http.stream("POST", url, json=_BODY) as answer:
            if answer.status_code != 200:
                await answer.aread()
                assert answer.status_code in (402, 503), answer.text
                if answer.status_code == 402:
                    self.refusals.append(answer.json())
                return str(answer.status_code)
            return await self._read(answer)

    async def _read(self, answer: httpx2.Response) -> str:
        said = b""
        self.streaming += 1
        try:
            async for piece in answer.aiter_bytes():
                said += piece
        except httpx2.TransportError:
            return "cut"
        finally:
            self.streaming -= 1
        if not said.endswith(b"data: [DONE]\n\n"):
            return "cut"
        return "answered"

    async def has_answered(self, count: int) -> None:
        """Wait until so many have their answer, and others are being answered."""
        count = min(count, self.callers - 1)
        await until(
            f"{count} answers, and others under way: {self.ends}",
            lambda: self.ends["answered"] >= count and self.streaming > 0,
        )


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StubProcess]:
    stub = StubProcess(tmp_path_factory.mktemp("provider"))
    yield stub
    stub.close()


async def race(world: World, provider: StubProcess, seed: int, callers: int, kills: int) -> None:
    """Let callers race for a budget, kill processes among them, look at every moment of it."""
    chance = random.Random(seed)
    await told_of(world, provider)
    api, (worker,) = await world.apart()
    await set_price(world, MODEL, to_usd(RATE * 1_000_000))
    budget = {"scope": "global", "limit_usd": to_usd(LIMIT), "on_exhausted": "stop"}
    budget_id = (await world.send("POST", "/v1/budgets", budget))["budget_id"]
    await watch_budgets(world)

    running = Race(world, callers)
    callings = [asyncio.create_task(running.call(chance)) for _ in range(callers)]
    for number in range(1, kills + 1):
        await running.has_answered(5 * number)
        await asyncio.sleep(chance.uniform(0, 0.2))
        api.kill()
        if chance.random() < 0.5:
            worker.kill()
            worker = await world.worker()
        api = await world.api()
        raised = {"limit_usd": to_usd(LIMIT * (number + 1))}
        await world.send("PATCH", f"/v1/budgets/{budget_id}", raised)
    await running.has_answered(5 * (kills + 1))
    running.is_over = True
    await asyncio.gather(*callings)

    books = await at_rest(world)
    print(f"{dict(running.ends)}, lost: {sum(row['estimated'] for row in books.tables['usage'])}")
    assert await overdrawn(world) == [], f"seed {seed}"
    hold_to_bill(books, await bill_of(provider), running.ends["answered"])
    assert running.refusals
    for said in running.refusals:
        assert said["error"]["code"] == "budget_exhausted"
        assert said["error"]["type"]
        assert said["error"]["message"]


async def told_of(world: World, provider: StubProcess) -> None:
    """Have a world ask the provider, which forgets what was asked before."""
    world.settings = {
        **world.settings,
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "ORCHESTRATOR_ATTEMPT_SECONDS": LONGEST_SECONDS,
    }
    async with provider.client() as http:
        await http.post("/reset")


async def at_rest(world: World) -> Books:
    """Wait until nothing is held any more; hold the books to the invariants."""
    books: list[Books] = []

    async def is_free() -> bool:
        books[:] = [await world.books()]
        return not books[0].tables["holds"]

    await until("what killed calls held is billed", is_free)
    return await world.check()


async def bill_of(provider: StubProcess) -> int:
    """Return what the provider charges, in picodollars."""
    async with provider.client() as http:
        entries = (await http.get("/log")).json()["requests"]
    assert all(entry["ended_ns"] is not None for entry in entries)
    return sum(int(entry["billed_input"] + entry["billed_output"]) for entry in entries) * RATE


def hold_to_bill(books: Books, bill: int, answered: int) -> None:
    """Compare budget, ledger and the provider's bill."""
    (budget,) = books.tables["budgets"]
    usage = books.tables["usage"]
    spent = sum(row["cost_pico"] for row in usage)
    lost = [row for row in usage if row["estimated"]]

    assert budget["reserved_pico"] == 0
    assert budget["spent_pico"] == spent <= budget["limit_pico"]
    assert spent >= bill
    assert len(usage) >= answered
    assert lost, "every kill cut some calls"
    assert {row["output_tokens"] for row in usage if row not in lost} == {20}
    for row in lost:
        # Of a call whose process died nobody saw a token; it may have cost all that was held.
        assert row["output_tokens"] == 0 < row["input_tokens"]
        most = row["cost_pico"] / RATE - CAP
        assert row["input_tokens"] <= most <= 4 * row["input_tokens"]


async def test_calls_race_for_the_last_money(
    world: World, provider: StubProcess, seed: int
) -> None:
    await race(world, provider, seed, callers=20, kills=2)


@pytest.mark.heavy
@pytest.mark.parametrize("where", ["sqlite", "postgresql"])
async def test_two_hundred_calls_race(
    world: World, postgres_world: World, provider: StubProcess, seed: int, where: str
) -> None:
    made = world if where == "sqlite" else postgres_world
    await race(made, provider, seed, callers=200, kills=5)
