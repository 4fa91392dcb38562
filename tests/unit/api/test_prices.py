"""Prices over HTTP."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from domain.principal import Scope
from tests.fakes.world import World
from tests.unit.api.conftest import Connect

BODY = {"input_per_mtok_usd": "1.25", "output_per_mtok_usd": "10"}


async def _prices(client: httpx2.AsyncClient) -> dict[str, Any]:
    listed = (await client.get("/v1/models")).json()
    return {model["id"]: model["price"] for model in listed["data"]}


async def test_a_price_wakes_who_waits_for_money(
    client: httpx2.AsyncClient, app: FastAPI, world: World
) -> None:
    world.budgets.waiting = ["run_1"]
    path = "/v1/models/agent/helper/price"

    await client.put(path, json=BODY)
    await client.delete(path)
    await app.state.services.background.settle(5)

    assert world.gateway.woken == ["run_1", "run_1"]


@pytest.mark.parametrize("name", ["gpt-x", "org/model/v2:free"])
async def test_a_price_that_is_set_is_shown_until_it_is_forgotten(
    client: httpx2.AsyncClient, name: str
) -> None:
    path = f"/v1/models/openai/{name}/price"

    said = await client.put(path, json=BODY)
    during = (await _prices(client))[f"openai/{name}"]
    forgotten = await client.delete(path)
    after = (await _prices(client)).get(f"openai/{name}")

    expected = {**BODY, "cached_input_per_mtok_usd": "1.25", "source": "api"}
    assert said.json() == {"model": f"openai/{name}", "price": expected}
    assert during == expected
    assert forgotten.status_code == 204
    assert after is None or after["input_per_mtok_usd"] is None
    assert (await client.delete(path)).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"input_per_mtok_usd": "1"},
        {**BODY, "input_per_mtok_usd": 1.25},
        {**BODY, "output_per_mtok_usd": "-1"},
        {**BODY, "currency": "EUR"},
    ],
)
async def test_a_price_that_makes_no_sense_is_refused(
    client: httpx2.AsyncClient, body: dict[str, Any]
) -> None:
    answer = await client.put("/v1/models/openai/gpt-x/price", json=body)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_only_the_operator_says_what_models_cost(
    app: FastAPI, world: World, connect: Connect
) -> None:
    ann = connect(app, world.add_key(Scope.ADMIN, owner="ann"))

    assert (await ann.put("/v1/models/openai/gpt-x/price", json=BODY)).status_code == 403
    assert (await ann.delete("/v1/models/openai/gpt-x/price")).status_code == 403
