"""Budgets over HTTP."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from domain.principal import Scope
from tests.fakes.world import World
from tests.unit.api.conftest import Connect

BODY = {"scope": "agent", "scope_id": "assistant", "limit_usd": "5", "period": "day"}


async def test_a_budget_is_made_read_changed_and_removed(
    app: FastAPI, client: httpx2.AsyncClient, world: World
) -> None:
    answer = await client.post("/v1/budgets", json=BODY)
    made = answer.json()
    path = answer.headers["location"]
    world.budgets.waiting = ["run_1"]

    changed = await client.patch(path, json={"limit_usd": "7.5", "on_exhausted": "stop"})
    seen = await client.get(path)
    removed = await client.delete(path)
    await app.state.services.background.settle(5)

    assert answer.status_code == 201
    assert (made["limit_usd"], made["on_exhausted"], made["spent_usd"]) == ("5", "ask", "0")
    assert changed.json() == seen.json()
    assert (seen.json()["limit_usd"], seen.json()["on_exhausted"]) == ("7.5", "stop")
    assert removed.status_code == 204
    assert world.gateway.woken == ["run_1", "run_1"]
    assert (await client.get(path)).status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "planet"},
        {"limit_usd": "-1"},
        {"limit_usd": 5},
        {"limit_usd": "9000000.1"},
        {"period": "month"},
        {"on_exhausted": "pray"},
        {"scope_id": None},
        {"scope_id": "*"},
        {"spent_usd": "0"},
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused(
    client: httpx2.AsyncClient, changes: dict[str, Any]
) -> None:
    answer = await client.post("/v1/budgets", json={**BODY, **changes})

    assert answer.status_code == 422


async def test_a_run_or_goal_that_is_not_there_has_no_budget(client: httpx2.AsyncClient) -> None:
    for scope, scope_id in (("run", "run_no"), ("goal", "goal_no")):
        answer = await client.post(
            "/v1/budgets", json={**BODY, "scope": scope, "scope_id": scope_id}
        )
        assert answer.status_code == 404


async def test_a_global_budget_is_over_ones_own_and_the_operators_may_be_over_all(
    app: FastAPI, world: World, connect: Connect
) -> None:
    operator = connect(app, world.add_key(Scope.ADMIN))
    ann = connect(app, world.add_key(Scope.ADMIN, owner="ann"))
    body = {"scope": "global", "limit_usd": "5"}

    own = await ann.post("/v1/budgets", json=body)
    refused = [
        await ann.post("/v1/budgets", json={**body, "scope_id": who}) for who in ("*", "local")
    ]
    over_all = await operator.post("/v1/budgets", json={**body, "scope_id": "*"})

    assert own.json()["scope_id"] == "ann"
    assert [answer.status_code for answer in refused] == [403, 422]
    assert over_all.json()["scope_id"] == "*"


async def test_only_ones_own_budgets_are_seen(app: FastAPI, world: World, connect: Connect) -> None:
    operator = connect(app, world.add_key(Scope.ADMIN))
    ann = connect(app, world.add_key(Scope.ADMIN, owner="ann"))
    path = (await operator.post("/v1/budgets", json=BODY)).headers["location"]

    assert (await ann.get("/v1/budgets")).json()["budgets"] == []
    for answer in (
        await ann.get(path),
        await ann.patch(path, json={"limit_usd": "1"}),
        await ann.delete(path),
    ):
        assert answer.status_code == 404


async def test_budgets_are_listed_by_what_they_are_about(client: httpx2.AsyncClient) -> None:
    for agent in ("a", "b"):
        await client.post("/v1/budgets", json={**BODY, "scope_id": agent})

    every = (await client.get("/v1/budgets")).json()
    one = (await client.get("/v1/budgets?scope=agent&scope_id=a")).json()

    assert [budget["scope_id"] for budget in every["budgets"]] == ["b", "a"]
    assert [budget["scope_id"] for budget in one["budgets"]] == ["a"]


async def test_budgets_are_made_by_administrators(
    app: FastAPI, world: World, connect: Connect
) -> None:
    client = connect(app, world.add_key(Scope.READ, Scope.INVOKE))

    assert (await client.get("/v1/budgets")).status_code == 200
    assert (await client.post("/v1/budgets", json=BODY)).status_code == 403
