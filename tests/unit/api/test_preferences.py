"""The pinned agent, and what a run requires of its agent, over HTTP."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from domain.agent import AgentKind
from domain.principal import Scope
from tests.fakes.world import World
from tests.unit.api.conftest import Connect

PATH = "/v1/preferences/agent"


async def test_a_pin_is_made_read_replaced_and_taken_away(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.add_agent("tutor", description="explains algebra")
    before = await client.get(PATH)
    await client.put(PATH, json={"agent_id": "assistant"})
    made = await client.put(PATH, json={"agent_id": "tutor"})
    read = await client.get(PATH)
    gone = [(await client.delete(PATH)).status_code for _ in range(2)]

    assert made.status_code == 200
    assert set(made.json()) == {"agent_id", "pinned_by", "pinned_at"}
    assert (made.json()["agent_id"], made.json()["pinned_by"]) == ("tutor", "local")
    assert read.json() == made.json()
    assert (before.status_code, gone) == (404, [204, 404])


async def test_the_pinned_agent_does_what_names_none_and_the_route_says_why(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.add_agent("tutor", description="explains algebra")
    world.add_agent("cook", description="recipes and baking bread")
    await client.put(PATH, json={"agent_id": "cook"})
    asked = {"input": "help with algebra"}

    run = (await client.post("/v1/runs", json=asked)).json()
    named = (await client.post("/v1/runs", json={**asked, "agent_id": "tutor"})).json()
    del world.directory.agents[None, "cook"]
    later = (await client.post("/v1/runs", json=asked)).json()
    routes = [
        (await client.get(f"/v1/runs/{each['run_id']}/route")).json()["decisions"]
        for each in (run, named, later)
    ]

    assert [each["agent_id"] for each in (run, named, later)] == ["cook", "tutor", "tutor"]
    assert routes[0][0]["reason"] == "cook is pinned"
    assert routes[1] == []
    assert routes[2][0]["detail"]["excluded"] == {
        "cook": "it is pinned, but there is no such active agent"
    }


async def test_a_pin_is_an_owners_own_and_needs_the_scope(
    app: FastAPI, world: World, connect: Connect
) -> None:
    ann = connect(app, world.add_key(Scope.INVOKE, Scope.READ, owner="ann"))
    bob = connect(app, world.add_key(Scope.INVOKE, Scope.READ, owner="bob"))
    reader = connect(app, world.add_key(Scope.READ, owner="ann"))
    world.add_agent("anns", owner="ann")

    assert (await reader.put(PATH, json={"agent_id": "anns"})).status_code == 403
    assert (await bob.put(PATH, json={"agent_id": "anns"})).status_code == 404
    assert (await ann.put(PATH, json={"agent_id": "anns"})).status_code == 200
    assert (await reader.get(PATH)).json()["pinned_by"] == "key 1 (key_1)"
    assert (await bob.get(PATH)).status_code == 404
    assert (await reader.delete(PATH)).status_code == 403
    assert (await bob.delete(PATH)).status_code == 404


@pytest.mark.parametrize("body", [{}, {"agent_id": None}, {"agent_id": "a b"}, {"agent": "tutor"}])
async def test_a_pin_that_makes_no_sense_is_refused(
    client: httpx2.AsyncClient, body: dict[str, Any]
) -> None:
    assert (await client.put(PATH, json=body)).status_code == 422


async def test_a_run_that_brings_tools_goes_to_no_external_agent(
    client: httpx2.AsyncClient, world: World
) -> None:
    there = {"kind": AgentKind.HTTP, "endpoint": "http://localhost:1"}
    world.add_agent("clerk", description="files papers", **there)
    asked = {"input": "file these papers"}
    tool = {"name": "scan", "description": "Scans a page."}

    plain = await client.post("/v1/runs", json=asked)
    brings = await client.post("/v1/runs", json={**asked, "client_tools": [tool]})

    assert plain.json()["agent_id"] == "clerk"
    assert (brings.status_code, brings.json()["agent_id"]) == (202, "assistant")


async def test_a_run_goes_to_an_agent_that_holds_what_it_requires(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.add_agent("clerk", description="files papers", tools=("calculator",))
    tool = {"name": "scan", "description": "Scans a page."}
    asked = {"input": "help with anything", "requires": {"tools": ["calculator", "scan"]}}

    run = await client.post("/v1/runs", json={**asked, "client_tools": [tool]})
    refused = await client.post("/v1/runs", json=asked)
    plain = await client.post("/v1/runs", json={**asked, "requires": {}})

    assert run.json()["agent_id"] == "clerk"
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "body.requires.tools"
    assert refused.json()["detail"] == "no agent holds scan, which the run requires"
    assert plain.json()["agent_id"] == "assistant"
