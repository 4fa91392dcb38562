"""Goals over HTTP."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from domain.errors import LimitReachedError
from domain.principal import Scope
from tests.fakes.world import World
from tests.unit.api.conftest import Connect


async def _make(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/goals", json={"title": "Launch", **fields})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/goals/{made['goal_id']}"
    return made


async def test_a_goal_has_seed_es_limits_unless_it_says_otherwise(
    client: httpx2.AsyncClient,
) -> None:
    made = await _make(client)
    other = await _make(client, limits={"max_agents": 5, "max_cost_usd_per_day": None})

    assert made["limits"] == {
        "max_agents": 100,
        "max_concurrent": 10,
        "max_cost_usd_per_day": "10",
    }
    assert made["budget_id"] == made["goal_id"].replace("goal_", "budget_")
    assert (other["limits"]["max_agents"], other["limits"]["max_concurrent"]) == (5, 10)
    assert other["budget_id"] is None


async def test_criteria_are_texts_or_objects_and_their_weights_make_the_score(
    client: httpx2.AsyncClient,
) -> None:
    criteria = ["cheap", {"text": "good", "weight": 3, "met": True, "evidence": "run_1"}]

    made = await _make(client, success_criteria=criteria)

    assert [one["text"] for one in made["success_criteria"]] == ["cheap", "good"]
    assert made["progress"]["criteria_met"] == 1
    assert made["progress"]["criteria_score"] == 0.75


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, "body.title"),
        ({"title": "x", "priority": "soon"}, "body.priority"),
        ({"title": "x", "limits": {"max_agents": -1}}, "body.limits.max_agents"),
        ({"title": "x", "limits": {"max_cost_usd_per_day": "9000001"}}, None),
        ({"title": "x", "state": "completed"}, "body.state"),
        ({"title": "x", "success_criteria": [{"met": True}]}, None),
    ],
)
async def test_a_goal_that_makes_no_sense_is_refused(
    client: httpx2.AsyncClient, body: dict[str, Any], place: str | None
) -> None:
    answer = await client.post("/v1/goals", json=body)

    assert answer.status_code == 422
    if place is not None:
        assert answer.json()["errors"][0]["field"] == place


async def test_a_goal_below_one_that_is_not_there_is_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/goals", json={"title": "x", "parent_goal_id": "goal_no"})

    assert answer.status_code == 404


async def test_a_change_leaves_what_it_does_not_name(client: httpx2.AsyncClient) -> None:
    made = await _make(client, description="why")
    path = f"/v1/goals/{made['goal_id']}"

    body = {"priority": "urgent", "limits": {"max_concurrent": None}}
    changed = (await client.patch(path, json=body)).json()

    assert (changed["priority"], changed["description"]) == ("urgent", "why")
    assert changed["limits"] == {**made["limits"], "max_concurrent": None}
    assert (await client.get(path)).json() == changed


async def test_a_changed_goal_wakes_and_a_cancelled_one_stops(
    app: FastAPI, client: httpx2.AsyncClient, world: World
) -> None:
    world.gateway.mode = "hold"
    made = await _make(client)
    run = (await client.post("/v1/runs", json={"input": "x", "goal_id": made["goal_id"]})).json()
    world.goals.to_wake, world.goals.to_cancel = ["run_7"], [run["run_id"]]

    answer = await client.patch(f"/v1/goals/{made['goal_id']}", json={"state": "cancelled"})
    seen = (await client.get(f"/v1/runs/{run['run_id']}")).json()
    await app.state.services.background.settle(5)

    assert answer.json()["state"] == "cancelled"
    assert run["goal_id"] == made["goal_id"]
    assert seen["metadata"]["reason"] == f"goal {made['goal_id']} was cancelled"
    assert world.gateway.woken == ["run_7"]


async def test_goals_are_listed_by_state_and_runs_by_goal(client: httpx2.AsyncClient) -> None:
    first, second = await _make(client), await _make(client)
    await client.patch(f"/v1/goals/{first['goal_id']}", json={"state": "paused"})
    await client.post("/v1/runs", json={"input": "x", "goal_id": second["goal_id"]})
    await client.post("/v1/runs", json={"input": "x"})

    every = (await client.get("/v1/goals")).json()
    paused = (await client.get("/v1/goals?state=paused")).json()
    runs = (await client.get(f"/v1/runs?goal_id={second['goal_id']}")).json()

    assert [one["goal_id"] for one in every["goals"]] == [second["goal_id"], first["goal_id"]]
    assert [one["goal_id"] for one in paused["goals"]] == [first["goal_id"]]
    assert len(runs["runs"]) == 1


async def test_a_deleted_goal_is_gone(client: httpx2.AsyncClient) -> None:
    path = f"/v1/goals/{(await _make(client))['goal_id']}"

    assert (await client.delete(path)).status_code == 204
    assert (await client.get(path)).status_code == 404
    assert (await client.delete(path)).status_code == 404


async def test_a_goal_that_is_full_says_which_limit(
    client: httpx2.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fake store has no such rule."""

    async def accept(_new: object) -> None:
        raise LimitReachedError("goal goal_1 has 10 runs", reason="max_concurrent")

    monkeypatch.setattr(world.runs, "accept", accept)

    answer = await client.post("/v1/runs", json={"input": "x", "goal_id": "goal_1"})

    assert answer.status_code == 409
    assert (answer.json()["code"], answer.json()["reason"]) == ("limit_reached", "max_concurrent")


async def test_the_key_that_started_a_run_is_on_record(
    app: FastAPI, world: World, connect: Connect
) -> None:
    client = connect(app, world.add_key(Scope.ADMIN))
    schedule = {"run": {"input": "x"}, "spec": {"cron": ["0 7 * * *"]}}

    await client.post("/v1/runs", json={"input": "x"})
    await client.post("/v1/tools/calculator/invoke", json={"args": {}})
    await client.post("/v1/schedules", json=schedule)

    assert [new.key_id for new in world.runs.accepted] == ["key_1", "key_1"]
    (kept,) = world.schedules.rows.values()
    assert '"key_id":"key_1"' in kept.ask


async def test_goals_are_for_those_who_may_start_runs(
    app: FastAPI, world: World, connect: Connect
) -> None:
    reader = connect(app, world.add_key(Scope.READ))

    assert (await reader.get("/v1/goals")).status_code == 200
    assert (await reader.post("/v1/goals", json={"title": "x"})).status_code == 403
