"""Every path of seed A's and seed B's documents, called as they show, over both databases."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from api.app import create_app
from api.shapes.seed_a import (
    SeedAgentList,
    SeedAgentOut,
    SeedChatOut,
    SeedClearedOut,
    SeedCosts,
    SeedDashboardOut,
    SeedMemoryOut,
    SeedMetricsOut,
    SeedModelList,
    SeedStatusOut,
)
from api.shapes.talk import MessageList
from api.shapes.work import EventList, InvokedOut
from tests.contract.playing import PlayingGateway
from tests.contract.store_api import ports_over
from tests.contract.store_engines import StoreBox
from tests.fakes.world import World, fake_config

CHAT = {"agent_id": "assistant", "message": "What is EvoClaw?"}


@pytest.fixture
def gateway(store: StoreBox) -> PlayingGateway:
    return PlayingGateway(store)


@pytest.fixture
async def client(store: StoreBox, gateway: PlayingGateway) -> AsyncIterator[httpx2.AsyncClient]:
    ports = ports_over(store, World().ports(), gateway)
    app = create_app(ports, fake_config(max_wait_seconds=10))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        agent = {
            "agent_id": "assistant",
            "name": "General Assistant",
            "instructions": "You are a helpful assistant.",
            "models": ["offline/echo"],
            "tools": ["calculator"],
        }
        assert (await client.post("/v1/agents", json=agent)).status_code == 201
        yield client


async def _get(client: httpx2.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_chat_and_memory(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/api/chat", json=CHAT)
    await client.post("/api/chat", json={**CHAT, "message": "And then?"})
    other = await client.post("/api/chat", json={"message": "Hi", "conversation_id": "c1"})
    memory = await _get(client, "/api/agents/assistant/memory")
    apart = await _get(client, "/api/agents/assistant/memory?conversation_id=c1")
    cleared = await client.delete("/api/agents/assistant/memory")
    empty = await _get(client, "/api/agents/assistant/memory")

    said = answer.json()
    assert answer.status_code == 200, answer.text
    SeedChatOut.model_validate(said)
    assert (said["agent_id"], said["response"]) == ("assistant", "Hello!")
    assert (said["model"], said["tokens_input"], said["tokens_output"]) == ("offline/echo", 100, 20)
    assert other.json()["agent_id"] == "assistant"
    SeedMemoryOut.model_validate(memory)
    assert memory["message_count"] == 4
    assert memory["messages"][:3] == [
        {"role": "user", "content": "What is EvoClaw?"},
        {"role": "assistant", "content": "Hello!"},
        {"role": "user", "content": "And then?"},
    ]
    assert apart["message_count"] == 2
    SeedClearedOut.model_validate(cleared.json())
    assert cleared.json() == {"message": "memory cleared", "agent_id": "assistant"}
    assert (empty["message_count"], empty["messages"]) == (0, [])


async def test_a_chat_that_fails_or_takes_long_says_so(
    client: httpx2.AsyncClient, gateway: PlayingGateway, store: StoreBox
) -> None:
    gateway.words = None
    failed = await client.post("/api/chat", json=CHAT)
    nobody = await client.post("/api/chat", json={**CHAT, "agent_id": "nobody"})

    assert failed.status_code == 502
    assert failed.json()["error"]["code"] == "model_unavailable"
    assert nobody.status_code == 404


async def test_a_chat_that_is_not_answered_in_time_goes_on(
    store: StoreBox, gateway: PlayingGateway
) -> None:
    gateway.holds = True
    ports = ports_over(store, World().ports(), gateway)
    transport = httpx2.ASGITransport(create_app(ports, fake_config(max_wait_seconds=0.01)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await client.post("/v1/agents", json={"agent_id": "assistant", "name": "A"})
        late = await client.post("/api/chat", json=CHAT)
        busy = await client.delete("/api/agents/assistant/memory")

    assert late.status_code == 504
    assert "goes on" in late.json()["error"]["message"]
    assert busy.status_code == 409


async def test_agents_and_what_they_did(
    client: httpx2.AsyncClient, gateway: PlayingGateway
) -> None:
    await client.post("/api/chat", json=CHAT)
    gateway.words = None
    await client.post("/api/chat", json=CHAT)
    gateway.holds = True
    await client.post("/v1/runs", json={"input": "x", "agent_id": "assistant"})

    listed = await _get(client, "/api/agents")
    agent = await _get(client, "/api/agents/assistant")
    metrics = await _get(client, "/api/agents/assistant/metrics")
    missing = await client.get("/api/agents/nobody")

    SeedAgentList.model_validate(listed)
    SeedAgentOut.model_validate(agent)
    SeedMetricsOut.model_validate(metrics)
    assert [one["id"] for one in listed] == ["assistant"]
    assert listed[0] == agent
    assert agent["def"]["model"] == "offline/echo"
    assert agent["def"]["systemPrompt"] == "You are a helpful assistant."
    assert agent["status"] == metrics["status"] == "running"
    assert (agent["message_count"], agent["error_count"]) == (3, 1)
    assert agent["metrics"] == metrics["metrics"]
    found = {name: metrics["metrics"][name] for name in ("total_actions", "failed_actions")}
    assert found == {"total_actions": 3, "failed_actions": 1}
    assert metrics["metrics"]["tokens_used"] == 240
    assert metrics["metrics"]["cost_usd"] == pytest.approx(2.8e-7)
    assert missing.status_code == 404
    assert set(missing.json()["error"]) == {"code", "message"}


async def test_status_models_costs_and_dashboard(client: httpx2.AsyncClient) -> None:
    await client.post("/api/chat", json=CHAT)

    status = await _get(client, "/api/status")
    models = await _get(client, "/api/models")
    costs = await _get(client, "/api/costs")
    dashboard = await _get(client, "/api/dashboard")

    SeedStatusOut.model_validate(status)
    SeedModelList.model_validate(models)
    SeedCosts.model_validate(costs)
    SeedDashboardOut.model_validate(dashboard)
    assert (status["agents"], status["models"]) == (1, len(models))
    assert status["memory"]["total_entries"] == 2
    assert models[0] == {
        "ID": "offline/echo",
        "Provider": "offline",
        "Config": {
            "id": "echo",
            "name": "echo",
            "contextWindow": None,
            "costInput": 0.0,
            "costOutput": 0.0,
            "capabilities": [],
        },
    }
    assert set(costs) == {"offline/echo"}
    assert costs["offline/echo"]["TotalRequests"] == 1
    assert costs["offline/echo"]["TotalTokensIn"] == 100
    assert costs["offline/echo"]["LastRequestTime"] > 1_600_000_000
    assert dashboard["total_requests"] == dashboard["total_actions"] == 1
    assert (dashboard["success_rate"], dashboard["evolving_agents"]) == (1.0, 0)


async def test_the_log_is_a_stream_of_lines_without_ids(client: httpx2.AsyncClient) -> None:
    stream = await client.get("/api/logs/stream")
    blocks = [block for block in stream.text.split("\n\n") if block.startswith("data: ")]
    lines = [json.loads(block.removeprefix("data: ")) for block in blocks]

    assert stream.headers["content-type"].startswith("text/event-stream")
    assert "\nid:" not in stream.text
    assert [set(line) for line in lines] == [{"time", "level", "component", "message"}] * 2
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d", line["time"]) for line in lines)
    assert lines[0]["message"] == "started"


MESSAGE = {"role": "user", "content": "Hello, how are you?"}
INVOKE = {"session_id": "sess_001", "agent_id": "assistant", "input_message": MESSAGE}
EVENTS = "/v1/runs/{}/events"


async def test_seed_bs_quick_start(client: httpx2.AsyncClient) -> None:
    """Register, invoke, replay the events, read the messages; then the registry and the probe."""
    body = {"agent_id": "demo_agent", "name": "Demo Agent", "endpoint": "http://localhost:8000"}
    registered = await client.post("/v1/agents/register", json=body)
    invoked = await client.post("/internal/invoke", json={**INVOKE, "request_id": "req_1"})
    again = await client.post("/internal/invoke", json={**INVOKE, "request_id": "req_1"})
    run_id = invoked.json()["run_id"]
    async with asyncio.timeout(10):
        while (await _get(client, f"/v1/runs/{run_id}"))["state"] != "DONE":
            await asyncio.sleep(0.01)
    events = await _get(client, EVENTS.format(run_id))
    later = f"?after_ts={events['events'][0]['ts']}&types=run_done,user_input&limit=100"
    some = await _get(client, EVENTS.format(run_id) + later)
    messages = await _get(client, "/v1/sessions/sess_001/messages?limit=50")
    before = messages["messages"][1]["message_id"]
    older = await _get(client, f"/v1/sessions/sess_001/messages?limit=50&before={before}")

    assert registered.status_code == 201, registered.text
    assert set(invoked.json()) == {"run_id", "session_id", "agent_id"}
    assert again.json() == invoked.json()
    EventList.model_validate(events)
    types = [event["type"] for event in events["events"]]
    assert (types[0], types[-1]) == ("user_input", "run_done")
    assert {event["type"] for event in some["events"]} <= {"run_done", "user_input"}
    MessageList.model_validate(messages)
    assert [one["content"] for one in messages["messages"]] == [MESSAGE["content"], "Hello!"]
    assert len(older["messages"]) == 1
    assert {one["agent_id"] for one in (await _get(client, "/v1/agents"))["agents"]} == {
        *("assistant", "demo_agent")
    }
    assert (await _get(client, "/v1/agents/demo_agent"))["endpoint"] == "http://localhost:8000"
    assert (await _get(client, "/health"))["status"]
    assert (await _get(client, "/v1/models"))["object"] == "list"


@pytest.mark.parametrize("path", ["/v1/tools/calculator/invoke", "/v1/tools/calculator:invoke"])
async def test_seed_bs_tools(client: httpx2.AsyncClient, path: str) -> None:
    body = {"args": {"operation": "add", "a": 2, "b": 3}, "timeout_ms": 5000}
    headers = {"idempotency-key": "k"}

    answer = await client.post(path, json=body, headers=headers)
    again = await client.post(path, json=body, headers=headers)
    call = await _get(client, f"/v1/tool_calls/{answer.json()['tool_call_id']}")
    waited = await client.post(f"/v1/tool_calls/{call['tool_call_id']}/wait")

    assert answer.status_code == 200, answer.text
    InvokedOut.model_validate(answer.json())
    assert (answer.json()["status"], answer.json()["result"]) == ("succeeded", {"result": 5})
    assert again.json() == answer.json()
    assert waited.json()["status"] == "succeeded"
    assert (await _get(client, "/v1/tools"))["tools"]


async def test_seed_bs_client_tools_are_registered_and_answered(
    client: httpx2.AsyncClient,
) -> None:
    tools = [{"name": "read_sensor", "schema": {"type": "object"}, "timeout_ms": 60000}]
    registered = await client.post(
        "/internal/tools/register", json={"client_id": "laptop-1", "tools": tools}
    )
    submitted = await client.post(
        "/internal/tool_calls/tc_no/submit",
        json={"status": "SUCCEEDED", "token": "dt_" + "x" * 43, "result": {}},
    )
    decided = await client.post(
        "/v1/approvals/ap_no/decide",
        json={"decision": "APPROVED", "reason": "ok", "decided_by": "ann"},
    )

    assert registered.json() == {"ok": True, "registered_count": 1}
    assert submitted.status_code == 404
    assert set(submitted.json()["error"]) == {"code", "message"}
    assert decided.status_code == 404
