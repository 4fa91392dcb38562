"""Routes of runs and feedback over HTTP."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from domain.principal import Scope
from domain.run import RunState
from domain.tiers import ModelTier
from tests.fakes.world import World
from tests.unit.api.conftest import Connect


async def started(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/runs", json={"input": "help with algebra", **fields})
    assert answer.status_code == 202, answer.text
    run: dict[str, Any] = answer.json()
    return run


async def test_the_route_of_a_run_shows_every_decision_with_its_scores(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.tiers[ModelTier.SIMPLE] = ("offline/echo",)
    world.add_agent("cook", description="recipes and baking bread")
    world.add_agent("tutor", description="explains algebra", models=("tier:simple",))
    run = await started(client)

    route = (await client.get(f"/v1/runs/{run['run_id']}/route")).json()

    agent, tier = route["decisions"]
    assert (agent["kind"], agent["agent_id"], agent["tier"]) == ("agent", "tutor", None)
    assert agent["scores"]["tutor"] > agent["scores"]["cook"]
    assert set(agent["detail"]["criteria"]["tutor"]) == set(agent["detail"]["weights"])
    assert (tier["tier"], tier["reason"]) == ("simple", "asked for by name")
    assert world.runs.specs[run["run_id"]].models == ("offline/echo",)


async def test_a_run_whose_agent_and_models_are_named_has_no_decisions(
    client: httpx2.AsyncClient,
) -> None:
    run = await started(client, agent_id="assistant")

    route = (await client.get(f"/v1/runs/{run['run_id']}/route")).json()

    assert route == {"run_id": run["run_id"], "decisions": []}
    assert (await client.get("/v1/runs/run_nope/route")).status_code == 404


async def test_an_agent_may_name_tiers_that_there_are(client: httpx2.AsyncClient) -> None:
    good = {"agent_id": "a", "kind": "llm", "name": "A", "models": ["auto", "tier:reasoning"]}

    assert (await client.post("/v1/agents", json=good)).status_code == 201
    refused = await client.post("/v1/agents", json={**good, "models": ["tier:huge"]})
    assert refused.status_code == 422
    assert "tier:simple" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("said", "score"),
    [({"thumbs": "up"}, 1.0), ({"thumbs": "down"}, -1.0), ({"score": 0.25}, 0.25)],
)
async def test_feedback_is_taken_and_listed(
    client: httpx2.AsyncClient, said: dict[str, Any], score: float
) -> None:
    run = await started(client)

    answer = await client.post(
        "/v1/feedback", json={"run_id": run["run_id"], "text": "so so", **said}
    )
    listed = (await client.get(answer.headers["location"])).json()

    assert answer.status_code == 201
    assert (answer.json()["score"], answer.json()["status"]) == (score, "learned")
    assert listed["feedback"] == [answer.json()]
    assert listed["has_more"] is False


async def test_the_next_choice_goes_by_what_was_said(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.add_agent("tutor", description="explains algebra")
    asked = {"input": "sweet dreams tonight", "agent_id": "tutor"}
    for _ in range(60):
        run = (await client.post("/v1/runs", json=asked)).json()
        await client.post("/v1/feedback", json={"run_id": run["run_id"], "thumbs": "up"})

    chosen = await started(client, input="sweet dreams")

    assert chosen["agent_id"] == "tutor"


async def test_what_a_run_asked_for_is_kept_for_the_day_when_its_worth_is_known(
    client: httpx2.AsyncClient, world: World
) -> None:
    await started(client)
    await started(client, agent_id="assistant")

    chosen, named = (new.chosen for new in world.runs.accepted)

    assert chosen is not None
    assert chosen.criteria["specialty_match"] >= 0.0
    assert named is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"run_id": "run_1"},
        {"run_id": "run_1", "score": 2},
        {"run_id": "run_1", "score": 1, "thumbs": "up"},
        {"run_id": "run_1", "thumbs": "sideways"},
        {"run_id": "run_1", "thumbs": "up", "text": ""},
        {"run_id": "run_1", "thumbs": "up", "more": 1},
    ],
)
async def test_feedback_that_makes_no_sense_is_refused(
    client: httpx2.AsyncClient, body: dict[str, Any]
) -> None:
    assert (await client.post("/v1/feedback", json=body)).status_code == 422


async def test_feedback_is_about_runs_of_ones_own_and_needs_the_scope(
    app: FastAPI, world: World, connect: Connect
) -> None:
    ann = connect(app, world.add_key(Scope.INVOKE, Scope.READ, owner="ann"))
    bob = connect(app, world.add_key(Scope.INVOKE, Scope.READ, owner="bob"))
    reader = connect(app, world.add_key(Scope.READ, owner="ann"))
    run = await started(ann)
    body = {"run_id": run["run_id"], "thumbs": "up"}

    assert (await bob.post("/v1/feedback", json=body)).status_code == 404
    assert (await reader.post("/v1/feedback", json=body)).status_code == 403
    assert (await ann.post("/v1/feedback", json=body)).status_code == 201
    assert (await bob.get("/v1/feedback")).json()["feedback"] == []
    assert len((await reader.get("/v1/feedback?status=learned")).json()["feedback"]) == 1
    assert world.runs.runs[run["run_id"]].state is not RunState.FAILED
