"""Faults 15 to 20 at every place of a chain: the next model answers, and all is on the bill."""

import asyncio
import itertools
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from domain.money import to_pico, to_usd
from tests.faults.product import Api, Product, StubProcess, data_of
from tests.faults.providers.asking import Stub, bills_of
from tests.rig.waiting import until

FAILURES = {
    "429": "[[status=429 retry_after=60]]",
    "500": "[[status=500]]",
    "stall": "[[stall]]",
    "half a stream": "[[tokens=9 half_close_after=4]]",
    "wrong JSON": "[[garbage=invalid_json]]",
}
MAY_HAVE_WORKED = {"stall", "half a stream", "wrong JSON"}
"""After these a provider may charge: the attempt is on the bill at what was held for it."""
RATE = 3_000_000
"""Picodollars a token, in and out: 3 USD a million."""


def set_prices(product: Product, *models: str) -> None:
    with closing(sqlite3.connect(product.store, timeout=30)) as connection, connection:
        for model in models:
            sql = "INSERT OR REPLACE INTO prices VALUES (?, '3', '3', '3', 'test', 1)"
            connection.execute(sql, (model,))


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_the_next_model_answers_and_the_failed_one_is_billed(
    product: Product, api: Api, stub: Stub, failure: str, place: int
) -> None:
    before = [await stub.model("[[status=400]]") for _ in range(place)]
    broken = await stub.model(FAILURES[failure])
    good = await stub.model("[[say=answered]]")
    set_prices(product, *before, broken, good)

    run = await api.run("hello", await api.agent(*before, broken, good))

    assert run["state"] == "DONE"
    assert run["output"]["content"] == "answered"
    log = await api.log(run["run_id"])
    assert data_of(log, "model_fallback")[-1]["from"] == broken
    bills = [bill for bill in data_of(log, "llm_call_done") if bill["model"] == broken]
    # A machine under load may hand an attempt over before its request is out.
    bills = [bill for bill in bills if bill["error"]["code"] != "worker_lost"]
    assert len(bills) == len(await stub.log(broken))
    for bill in bills:
        assert bill["estimated"] is (failure in MAY_HAVE_WORKED)
        assert (bill["cost_usd"] != "0") is (failure in MAY_HAVE_WORKED)
    assert bills_of(log)[-1] == (good, None)


@pytest.fixture(scope="module")
def guarded(provider: StubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A product whose breakers are on, with a short cool-down."""
    made = Product(
        tmp_path_factory.mktemp("guarded"),
        OPENAI_API_KEY="sk-stub",
        OPENAI_BASE_URL=f"{provider.url}/v1",
        breaker_failures=3,
        breaker_cooldown_seconds=COOL_DOWN_SECONDS,
        retry_seconds=0.05,
    )
    made.start()
    try:
        yield made
    finally:
        made.close()


COOL_DOWN_SECONDS = 3


async def test_a_provider_that_is_down_gets_one_probe_a_cool_down_also_across_a_kill(
    guarded: Product, stub: Stub
) -> None:
    down, good = await stub.model("[[status=500]]"), await stub.model("[[say=fine]]")
    async with guarded.api() as api:
        agent = await api.agent(down, good)
        first = await api.run("hello", agent)
        opened = len(await stub.log(down))
        runs = await asyncio.gather(*(api.run("hello", agent) for _ in range(10)))
        assert len(await stub.log(down)) == opened == 3

    guarded.child.kill()
    guarded.start()
    async with guarded.api() as api:
        runs += [await api.run("hello", agent) for _ in range(3)]
        (health,) = guarded.rows("SELECT * FROM model_health WHERE model = ?", down)
        late = await wait_for_probe(api, stub, agent, down, opened)

    assert first["output"]["content"] == "fine"
    assert {run["output"]["content"] for run in runs} == {"fine"}
    assert health["failures"] >= 3
    requests = (await stub.log(down))[opened:]
    apart = [(b["at_ns"] - a["at_ns"]) / 1e9 for a, b in itertools.pairwise(requests)]
    assert all(gap >= COOL_DOWN_SECONDS * 0.99 for gap in apart), apart
    assert late >= 1


async def wait_for_probe(api: Api, stub: Stub, agent: str, model: str, before: int) -> int:
    """Run until the model is asked again; return how often it was."""

    async def is_asked() -> bool:
        await api.run("hello", agent)
        return len(await stub.log(model)) > before

    await until("the model is asked again", is_asked, 60)
    return len(await stub.log(model)) - before


async def test_a_provider_that_is_back_is_used_again(guarded: Product, stub: Stub) -> None:
    model = await stub.model("[[status=500]]")
    good = await stub.model("[[say=other]]")
    async with guarded.api() as api:
        agent = await api.agent(model, good)
        await api.run("hello", agent)
        await stub.control(model, "[[say=back]]")

        async def answers() -> bool:
            run = await api.run("hello", agent)
            return bool(run["output"]["content"] == "back")

        await until("the model answers again", answers, 60)

    (row,) = guarded.rows("SELECT * FROM model_health WHERE model = ?", model)
    assert (row["failures"], row["open_until"]) == (0, None)


# the ledger against the bill


async def compare_with_the_bill(
    product: Product, api: Api, stub: Stub, calls: int, seed: int
) -> None:
    """Make many calls, one in twenty of which fails somehow, and compare what both sides say."""
    chance = random.Random(seed)
    model = await stub.model()
    set_prices(product, model)
    agent = await api.agent(model)
    faults = [f for f in FAILURES.values() if "retry_after" not in f and "stall" not in f]
    before = len(await stub.log(model))

    async def one(number: int) -> None:
        mark = f"[[tokens={chance.randrange(1, 40)}]]"
        if chance.random() < 0.05:
            mark = chance.choice(faults).replace("]]", f" times=1 id=bill-{seed}-{number}]]")
        await api.run(f"{mark} {'word ' * chance.randrange(1, 80)}", agent)

    for batch in range(0, calls, 20):
        await asyncio.gather(*(one(number) for number in range(batch, min(calls, batch + 20))))

    asked = (await stub.log(model))[before:]
    rows = [dict(row) for row in product.rows("SELECT * FROM usage WHERE model = ?", model)]
    whole = [entry for entry in asked if entry["outcome"] == "answered"]
    billed = sum(entry["billed_input"] + entry["billed_output"] for entry in whole) * RATE
    completed = [row for row in rows if row["error_code"] is None]
    assert len(rows) == len(asked), f"seed {seed}"
    assert len(completed) == len(whole), f"seed {seed}"
    assert sum(row["cost_pico"] for row in completed) == billed, f"seed {seed}"
    everything = sum(entry["billed_input"] + entry["billed_output"] for entry in asked) * RATE
    ledger = sum(row["cost_pico"] for row in rows)
    print(f"{len(asked)} calls: ledger {to_usd(ledger)}, bill {to_usd(everything)} USD")
    assert ledger >= everything, f"seed {seed}"
    assert to_pico(to_usd(ledger)) == ledger


@pytest.fixture
def seed() -> int:
    return random.SystemRandom().randrange(1 << 32)


async def test_the_ledger_is_the_bill(product: Product, api: Api, stub: Stub, seed: int) -> None:
    await compare_with_the_bill(product, api, stub, 40, seed)


@pytest.mark.heavy
@pytest.mark.timeout(1800)
async def test_the_ledger_is_the_bill_over_ten_thousand_calls(
    product: Product, api: Api, stub: Stub, seed: int
) -> None:
    await compare_with_the_bill(product, api, stub, 10_000, seed)
