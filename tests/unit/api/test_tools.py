"""Tools and tool calls over HTTP, and seed C's pool, whose requests are tool calls."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app, drain
from api.tool_calls import outcome_view
from domain.principal import Scope
from domain.run import RunError, RunState
from domain.stats import WorkerSlot
from domain.tool import ToolCallStatus
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect


async def test_a_tool_call_answers_with_its_result(
    client: httpx2.AsyncClient, world: World
) -> None:
    answer = await client.post("/v1/tools/calculator/invoke", json={"args": {"a": 1}})

    body = answer.json()
    assert answer.status_code == 200
    assert body["status"] == "succeeded"
    assert body["result"] == {"result": 42}
    assert world.runs.runs[body["run_id"]].kind == "tool"
    assert world.runs.calls[body["tool_call_id"]].args == '{"a":1}'
    assert world.events.followers == 0


@pytest.mark.parametrize(
    ("path", "body", "args"),
    [
        ("/v1/tools/calculator/invoke", {}, "args"),
        ("/api/v1/request", {"tool_name": "calculator"}, "params"),
    ],
)
async def test_long_whole_numbers_reach_a_tool_as_they_were_sent(
    client: httpx2.AsyncClient, world: World, path: str, body: dict[str, object], args: str
) -> None:
    sent = {"a": 9007199254740993, "b": 123456789012345678901234567890}

    answer = await client.post(path, json={**body, args: sent})

    call = world.runs.calls[answer.json()["tool_call_id"]]
    assert json.loads(call.args) == sent


async def test_a_tool_that_fails_answers_with_its_error(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/tools/calculator/invoke", json={"args": {"a": "boom"}})

    assert answer.json()["status"] == "failed"
    assert answer.json()["error"] == {"code": "tool_error", "message": "boom"}


async def test_an_unknown_outcome_waits_for_a_person_who_says_what_happened(
    client: httpx2.AsyncClient, world: World
) -> None:
    pending = (await client.post("/v1/tools/wire/invoke", json={})).json()
    path = f"/v1/tool_calls/{pending['tool_call_id']}"
    listed = (await client.get("/v1/tool_calls?status=outcome_unknown")).json()

    said = await client.post(f"{path}/resolve", json={"outcome": "happened", "result": {"ok": 1}})
    again = await client.post(f"{path}/resolve", json={"outcome": "give_up"})
    await asyncio.sleep(0.01)

    assert pending["status"] == "pending"
    assert path in pending["reason"]
    assert [call["tool_call_id"] for call in listed["tool_calls"]] == [pending["tool_call_id"]]
    assert said.json()["status"] == "succeeded"
    assert said.json()["result"] == {"ok": 1}
    assert said.json()["resolved_by"] == "local"
    assert world.gateway.woken == [pending["run_id"]]
    assert again.status_code == 409


@pytest.mark.parametrize(
    ("body", "result"),
    [
        ({"outcome": "happened"}, None),
        ({"outcome": "happened", "result": "plain"}, "plain"),
        ({"outcome": "not_happened"}, None),
        ({"outcome": "give_up"}, None),
    ],
)
async def test_each_outcome_can_be_said(
    client: httpx2.AsyncClient, body: dict[str, str], result: str | None
) -> None:
    pending = (await client.post("/v1/tools/wire/invoke", json={})).json()

    answer = await client.post(f"/v1/tool_calls/{pending['tool_call_id']}/resolve", json=body)

    assert answer.json()["resolution"] == body["outcome"]
    assert answer.json()["result"] == result


async def test_a_result_goes_with_what_happened_only(client: httpx2.AsyncClient) -> None:
    pending = (await client.post("/v1/tools/wire/invoke", json={})).json()

    answer = await client.post(
        f"/v1/tool_calls/{pending['tool_call_id']}/resolve",
        json={"outcome": "give_up", "result": "x"},
    )

    assert answer.status_code == 422


async def test_a_verdict_on_a_run_that_ended_wakes_nobody(
    client: httpx2.AsyncClient, world: World
) -> None:
    pending = (await client.post("/v1/tools/wire/invoke", json={})).json()
    world.runs.change(pending["run_id"], state=RunState.CANCELLED)

    answer = await client.post(
        f"/v1/tool_calls/{pending['tool_call_id']}/resolve", json={"outcome": "happened"}
    )

    assert answer.status_code == 200
    assert world.gateway.woken == []


async def test_a_tool_that_takes_longer_is_pending(
    client: httpx2.AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.tool_calls._SLACK_SECONDS", 0.05)
    world.gateway.mode = "hold"

    answer = await client.post("/v1/tools/calculator/invoke", json={"timeout_ms": 1})

    body = answer.json()
    assert body["status"] == "pending"
    assert f"/v1/tool_calls/{body['tool_call_id']}" in body["reason"]
    assert world.runs.accepted[0].spec.tools[0].timeout_seconds == 0.001


async def test_a_shutdown_lets_waiting_callers_go(
    app: FastAPI, client: httpx2.AsyncClient, world: World
) -> None:
    world.gateway.mode = "hold"
    waiting = asyncio.ensure_future(client.post("/v1/tools/calculator/invoke", json={}))
    while not world.gateway.started:
        await asyncio.sleep(0)

    await drain(app, 1)

    assert (await waiting).json()["status"] == "pending"


@pytest.mark.parametrize("known", [True, False])
async def test_a_call_whose_run_failed_says_why(
    client: httpx2.AsyncClient, world: World, known: bool
) -> None:
    pending = (await client.post("/v1/tools/wire/invoke", json={})).json()
    error = RunError(code="engine_state_lost", message="gone") if known else None
    world.runs.change(pending["run_id"], state=RunState.FAILED, error=error)
    world.gateway.end_call(pending["tool_call_id"], ToolCallStatus.TIMEOUT)

    answer = await client.post("/v1/tools/wire/invoke", json={"run_id": pending["run_id"]})
    run = world.runs.runs[pending["run_id"]]
    view = outcome_view(run, world.runs.calls[pending["tool_call_id"]])

    assert answer.status_code == 409
    assert view["status"] == "failed"
    assert view["error"]["code"] == ("engine_state_lost" if known else "timeout")


async def test_with_a_run_id_a_call_is_its_child(client: httpx2.AsyncClient, world: World) -> None:
    world.gateway.mode = "hold"
    parent = (await client.post("/v1/runs", json={"input": "x"})).json()["run_id"]
    world.gateway.mode = "play"

    child = (await client.post("/v1/tools/calculator/invoke", json={"run_id": parent})).json()

    run = (await client.get(f"/v1/runs/{child['run_id']}")).json()
    assert (run["parent_run_id"], run["root_run_id"], run["depth"]) == (parent, parent, 1)


@pytest.mark.parametrize("place", ["header", "body", "both"])
async def test_a_repeated_call_is_the_same_call(
    client: httpx2.AsyncClient, world: World, place: str
) -> None:
    headers = {"idempotency-key": "k"} if place != "body" else {}
    body = {"idempotency_key": "k"} if place != "header" else {}

    first = await client.post("/v1/tools/calculator/invoke", json=body, headers=headers)
    again = await client.post("/v1/tools/calculator/invoke", json=body, headers=headers)

    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert len(world.runs.accepted) == 1


async def test_two_different_keys_are_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.post(
        "/v1/tools/calculator/invoke",
        json={"idempotency_key": "a"},
        headers={"idempotency-key": "b"},
    )

    assert answer.status_code == 400
    assert answer.json()["code"] == "conflicting_keys"


async def test_a_refused_call_leaves_no_reader_behind(
    client: httpx2.AsyncClient, world: World
) -> None:
    headers = {"idempotency-key": "k"}
    await client.post("/v1/tools/calculator/invoke", json={"args": {"a": 1}}, headers=headers)

    answer = await client.post(
        "/v1/tools/calculator/invoke", json={"args": {"a": 2}}, headers=headers
    )

    assert answer.status_code == 409
    assert world.events.followers == 0


async def test_tools_are_listed_and_shown(client: httpx2.AsyncClient) -> None:
    listed = (await client.get("/v1/tools")).json()
    one = await client.get("/v1/tools/wire")
    none = await client.get("/v1/tools/teleport")
    uncallable = await client.post("/v1/tools/teleport/invoke", json={})

    assert [tool["name"] for tool in listed["tools"]] == ["calculator", "wire"]
    first = (await client.get("/v1/tools?limit=1")).json()
    rest = (await client.get(f"/v1/tools?limit=1&cursor={first['next_cursor']}")).json()
    lost = await client.get("/v1/tools?cursor=teleport")

    assert [tool["name"] for tool in first["tools"] + rest["tools"]] == ["calculator", "wire"]
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)
    assert (lost.status_code, lost.json()["code"]) == (422, "invalid_request")
    assert one.json()["effect"] == "unsafe"
    assert none.status_code == uncallable.status_code == 404


async def test_arguments_that_are_no_json_are_shown_as_they_came(
    client: httpx2.AsyncClient, world: World
) -> None:
    made = (await client.post("/v1/tools/calculator/invoke", json={})).json()
    call = world.runs.calls[made["tool_call_id"]]
    odd = call.model_copy(update={"args": "{broken", "result": '{"a":1e999}'})
    world.runs.calls[made["tool_call_id"]] = odd

    shown = (await client.get(f"/v1/tool_calls/{made['tool_call_id']}")).json()

    assert shown["args"] == "{broken"
    assert shown["result"] == {"a": None}


async def test_seed_cs_request_answers_with_the_result(client: httpx2.AsyncClient) -> None:
    good = await client.post(
        "/api/v1/request",
        json={"tool_name": "calculator", "params": {"operation": "add", "a": 40, "b": 2}},
    )
    bad = await client.post(
        "/api/v1/request", json={"tool_name": "calculator", "params": {"a": "boom"}}
    )
    unclear = await client.post("/api/v1/request", json={"tool_name": "wire"})
    none = await client.post("/api/v1/request", json={"tool_name": "teleport"})

    assert good.json()["success"] is True
    assert good.json()["result"] == {"result": 42}
    assert good.json()["error"] is None
    assert bad.json()["success"] is False
    assert bad.json()["error"] == "boom"
    assert "/resolve" in unclear.json()["error"]
    assert none.status_code == 404
    assert none.json()["error"]["code"] == "not_found"


async def test_seed_cs_pool_shows_its_places_and_figures(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/runs?wait=5", json={"input": "x"})

    agents = (await client.get("/api/v1/agents")).json()
    one = await client.get("/api/v1/agents/worker-1/1")
    none = await client.get("/api/v1/agents/worker-9/9")
    stats = (await client.get("/api/v1/stats")).json()
    tools = (await client.get("/api/v1/tools")).json()

    assert agents["count"] == 2
    assert [slot["state"] for slot in agents["agents"]] == ["idle", "busy"]
    assert one.json()["current_step"] == "llm-1-1"
    assert one.json()["utilization"] == 0.5
    assert none.status_code == 404
    assert stats["total_requests"] == stats["successful_requests"] == 1
    assert stats["success_rate"] == 1.0
    assert (stats["idle_agents"], stats["busy_agents"], stats["agent_utilization"]) == (1, 1, 0.5)
    assert tools["count"] == 2


async def test_the_pool_never_shows_the_steps_of_another_owners_runs(
    world: World, connect: Connect
) -> None:
    class OneBusy:
        async def slots(self) -> Sequence[WorkerSlot]:
            step = f"{run_id}:llm-1-1"
            idle, busy = await world.ports().workers.slots()
            return [idle, busy.model_copy(update={"current_step": step})]

    app = create_app(replace(world.ports(), workers=OneBusy()), fake_config())
    ann = connect(app, world.add_key(Scope.READ, Scope.INVOKE, owner="ann"))
    bob = connect(app, world.add_key(Scope.ADMIN, owner="bob"))
    operator = connect(app, world.add_key(Scope.ADMIN))
    run_id = (await ann.post("/v1/runs?wait=5", json={"input": "x"})).json()["run_id"]

    seen = []
    for who in (ann, operator, bob):
        listed = (await who.get("/api/v1/agents")).json()["agents"]
        figures = (await who.get("/api/v1/stats")).json()["agents"]
        one = (await who.get("/api/v1/agents/worker-1/1")).json()
        assert listed == figures
        assert (listed[0]["current_step"], one) == (None, listed[1])
        assert one["state"] == "busy"
        seen.append(one["current_step"])

    assert seen == [f"{run_id}:llm-1-1", f"{run_id}:llm-1-1", None]
