"""Runs over HTTP: how they start, who works on them, how they are cancelled."""

import asyncio

import httpx2
import pytest
from fastapi import FastAPI

from api.app import drain
from domain.agent import Limits
from domain.run import RunState
from tests.fakes.world import World


async def test_a_start_answers_202_with_the_run_and_its_address(
    client: httpx2.AsyncClient, world: World
) -> None:
    answer = await client.post("/v1/runs", json={"input": "hi", "metadata": {"a": 1}})

    run = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/runs/{run['run_id']}"
    assert run["state"] == "CREATED"
    assert run["metadata"] == {"a": 1}
    assert run["links"]["events"] == f"/v1/runs/{run['run_id']}/events"


async def test_a_message_object_is_as_good_as_a_text(
    client: httpx2.AsyncClient, world: World
) -> None:
    await client.post("/v1/runs", json={"input": {"role": "user", "content": "hi"}})

    assert world.runs.accepted[0].content == "hi"


async def test_everything_that_is_asked_reaches_the_run(
    client: httpx2.AsyncClient, world: World
) -> None:
    body = {
        "input": "hi",
        "agent_id": "assistant",
        "session_id": "chat-1",
        "on_busy": "reject",
        "context": {"page": 3},
        "limits": {"max_turns": 2, "max_cost_usd": "5", "max_tokens": 9},
        "priority": 5,
    }

    await client.post("/v1/runs", json=body)

    new = world.runs.accepted[0]
    assert (new.agent_id, new.session_id, new.on_busy, new.priority) == (
        "assistant",
        "chat-1",
        "reject",
        5,
    )
    assert new.spec.context == {"page": 3}
    assert new.spec.limits == Limits(max_turns=2, max_cost_usd="1.00", max_tokens=9)
    assert new.route is None


async def test_waiting_gives_200_when_the_run_ended_in_time(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/runs?wait=5", json={"input": "hi"})

    assert answer.status_code == 200
    assert answer.json()["state"] == "DONE"
    assert answer.json()["output"] == {"role": "assistant", "content": "Hello"}


async def test_waiting_gives_202_when_it_did_not(client: httpx2.AsyncClient, world: World) -> None:
    world.gateway.mode = "hold"

    answer = await client.post("/v1/runs?wait=0.05", json={"input": "hi"})

    assert answer.status_code == 202
    assert answer.json()["state"] == "CREATED"
    assert world.events.followers == 0


async def test_waiting_for_a_run_that_ended_long_ago_gives_it_at_once(
    client: httpx2.AsyncClient, world: World
) -> None:
    headers = {"idempotency-key": "k"}
    await client.post("/v1/runs?wait=5", json={"input": "x"}, headers=headers)

    again = await client.post("/v1/runs?wait=5", json={"input": "x"}, headers=headers)

    assert again.status_code == 200
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_shutdown_lets_waiting_callers_go_with_what_there_is(
    app: FastAPI, client: httpx2.AsyncClient, world: World
) -> None:
    world.gateway.mode = "hold"
    waiting = asyncio.ensure_future(client.post("/v1/runs?wait=60", json={"input": "hi"}))
    while not world.gateway.started:
        await asyncio.sleep(0)

    await drain(app, 1)

    assert (await waiting).status_code == 202


async def test_an_accepted_run_is_accepted_whatever_the_engine_does(
    client: httpx2.AsyncClient, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault 5: 202, and the run stays CREATED for the reconciler."""
    world.gateway.mode = "down"

    answer = await client.post("/v1/runs", json={"input": "hi"})
    await asyncio.sleep(0.01)

    run_id = answer.json()["run_id"]
    assert answer.status_code == 202
    assert world.runs.runs[run_id].state is RunState.CREATED
    (record,) = [item for item in caplog.records if item.levelname == "WARNING"]
    assert record.__dict__["run_id"] == run_id


async def test_a_bug_behind_the_answer_is_logged(
    client: httpx2.AsyncClient, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("bug")

    world.gateway.start = broken  # type: ignore[method-assign]

    answer = await client.post("/v1/runs", json={"input": "hi"})
    await asyncio.sleep(0.01)

    assert answer.status_code == 202
    assert "work behind an answer failed" in caplog.text


async def test_a_busy_session_queues_or_refuses(client: httpx2.AsyncClient, world: World) -> None:
    world.gateway.mode = "hold"
    body = {"input": "x", "session_id": "s"}
    first = await client.post("/v1/runs", json=body)

    second = await client.post("/v1/runs", json=body)
    third = await client.post("/v1/runs", json={**body, "on_busy": "reject"})

    session = (await client.get("/v1/sessions/s")).json()
    assert session["active_run_id"] == first.json()["run_id"]
    assert session["queued_run_ids"] == [second.json()["run_id"]]
    assert third.status_code == 409
    assert third.json()["code"] == "session_busy"


async def test_without_an_agent_the_best_description_is_chosen_and_the_reason_told(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.add_agent("cook", description="recipes, cooking and baking bread")
    world.add_agent("tutor", description="explains mathematics and algebra")
    world.add_agent("retired", description="algebra algebra algebra", status="retired")

    run = (await client.post("/v1/runs?wait=5", json={"input": "help with algebra"})).json()
    events = (await client.get(f"/v1/runs/{run['run_id']}/events?types=route_decided")).json()

    (event,) = events["events"]
    assert run["agent_id"] == "tutor"
    assert event["data"]["agent_id"] == "tutor"
    assert event["data"]["scores"]["tutor"] > event["data"]["scores"].get("cook", 0)
    assert event["data"]["reason"]


async def test_without_an_agent_the_sessions_own_is_chosen(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.add_agent("cook")
    await client.post("/v1/sessions", json={"session_id": "s", "agent_id": "cook"})

    run = (await client.post("/v1/runs", json={"input": "hi", "session_id": "s"})).json()

    assert run["agent_id"] == "cook"
    assert world.runs.accepted[0].route == {
        "kind": "agent",
        "agent_id": "cook",
        "reason": "cook is the agent of session s",
        "scores": {},
    }


async def test_an_unknown_agent_and_no_agent_at_all_are_refused(
    client: httpx2.AsyncClient, world: World
) -> None:
    unknown = await client.post("/v1/runs", json={"input": "x", "agent_id": "nobody"})
    world.directory.agents.clear()
    none = await client.post("/v1/runs", json={"input": "x"})

    assert unknown.status_code == 404
    assert none.status_code == 422
    assert "POST /v1/agents" in none.json()["detail"]


async def test_cancelling_is_recorded_and_handed_on(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.gateway.mode = "hold"
    run_id = (await client.post("/v1/runs", json={"input": "x"})).json()["run_id"]

    answer = await client.post(f"/v1/runs/{run_id}/cancel", json={"reason": "enough"})
    await asyncio.sleep(0.01)

    assert answer.status_code == 202
    assert world.gateway.cancelled == [run_id]
    assert world.runs.runs[run_id].metadata["reason"] == "enough"


async def test_cancelling_a_run_that_ended_changes_nothing(
    client: httpx2.AsyncClient, world: World
) -> None:
    run_id = (await client.post("/v1/runs?wait=5", json={"input": "x"})).json()["run_id"]

    answer = await client.post(f"/v1/runs/{run_id}/cancel")

    assert answer.status_code == 202
    assert answer.json()["state"] == "DONE"
    assert world.gateway.cancelled == []
