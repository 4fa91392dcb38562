"""The API over both databases: pages, places, owners, and text that would like to be SQL."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from api.app import create_app, drain
from api.printable import misleads
from domain.principal import Scope
from domain.step import AwaitingApproval
from domain.tool import Effect
from tests.contract.store_api import QuietGateway, ports_over
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import FAILED, asks_tool, execution, new_run, open_step
from tests.fakes.world import World, fake_config

HOSTILE = [
    "' OR '1'='1",
    "x'; DROP TABLE runs; --",
    '" UNION SELECT digest FROM api_keys --',
    "%_\\",
    ":owner",
    "naïve 🚀 \u2028 \u202e",
]


@pytest.fixture
def gateway() -> QuietGateway:
    return QuietGateway()


@pytest.fixture
async def client(store: StoreBox, gateway: QuietGateway) -> AsyncIterator[httpx2.AsyncClient]:
    ports = ports_over(store, World().ports(), gateway)
    app = create_app(ports, fake_config(max_wait_seconds=0.01))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        agent = {"agent_id": "assistant", "name": "Assistant", "tools": ["calculator"]}
        assert (await client.post("/v1/agents", json=agent)).status_code == 201
        yield client
    await drain(app, 5)


async def _get(client: httpx2.AsyncClient, path: str) -> Any:
    answer = await client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def _walk(client: httpx2.AsyncClient, path: str, name: str) -> list[dict[str, Any]]:
    """Read a whole list one entry at a time."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await _get(client, f"{path}?limit=1{cursor}")
        found += page[name]
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            return found
        cursor = f"&cursor={page['next_cursor']}"


async def test_every_list_can_be_walked_entry_by_entry(client: httpx2.AsyncClient) -> None:
    for number in range(3):
        await client.post("/v1/runs", json={"input": "x", "session_id": "s"})
        await client.post("/v1/sessions", json={"session_id": f"t{number}"})
        await client.post("/v1/agents", json={"agent_id": f"a{number}", "name": "A"})
        await client.post("/v1/tools/calculator/invoke", json={})
    run = (await _get(client, "/v1/runs?session_id=s&limit=1"))["runs"][0]

    sizes = {
        name: len(await _walk(client, f"/v1/{path}", name))
        for path, name in (
            ("runs", "runs"),
            ("sessions", "sessions"),
            ("agents", "agents"),
            ("tool_calls", "tool_calls"),
            ("sessions/s/messages", "messages"),
            (f"runs/{run['run_id']}/events", "events"),
        )
    }

    assert sizes["runs"] == 6
    assert sizes["sessions"] == 4
    assert sizes["agents"] == 4
    assert sizes["tool_calls"] == 3
    assert sizes["messages"] == 3
    assert sizes["events"] >= 2


async def test_the_list_of_keys_can_be_walked_too(client: httpx2.AsyncClient) -> None:
    made = (await client.post("/v1/keys", json={"name": "a", "scopes": ["admin"]})).json()
    client.headers["authorization"] = f"Bearer {made['key']}"
    await client.post("/v1/keys", json={"name": "b", "scopes": [Scope.READ]})

    keys = await _walk(client, "/v1/keys", "keys")

    assert [key["name"] for key in keys] == ["b", "a"]


@pytest.mark.parametrize(
    "path",
    ["runs", "sessions", "agents", "tool_calls", "keys", "sessions/s/messages"],
)
async def test_a_cursor_of_another_list_is_refused(client: httpx2.AsyncClient, path: str) -> None:
    await client.post("/v1/sessions", json={"session_id": "s"})

    for cursor in ("x", "~~~~", "WzEsMl0", "bm90IGpzb24"):
        answer = await client.get(f"/v1/{path}?cursor={cursor}")
        assert answer.status_code == 422, (path, cursor)


async def test_a_transcript_is_read_back_from_any_kind_of_place(
    client: httpx2.AsyncClient,
) -> None:
    for number in range(4):
        await client.post("/v1/runs", json={"input": f"m{number}", "session_id": "s"})
    path = "/v1/sessions/s/messages?limit=2&before="
    every = (await _get(client, "/v1/sessions/s/messages"))["messages"]

    by_id = await _get(client, path + every[2]["message_id"])
    nothing = await _get(client, f"{path}1")

    assert [message["content"] for message in every] == ["m0", "m1", "m2", "m3"]
    assert [message["seq"] for message in every] == [1, None, None, None]
    assert [message["content"] for message in by_id["messages"]] == ["m0", "m1"]
    assert nothing["messages"] == []


@pytest.mark.parametrize("text", HOSTILE)
async def test_text_that_would_like_to_be_sql_is_text(
    client: httpx2.AsyncClient, text: str
) -> None:
    """Attack 21."""
    body = {"input": text, "metadata": {text: text}, "session_id": "s"}
    run = (await client.post("/v1/runs", json=body)).json()
    cancelled = await client.post(f"/v1/runs/{run['run_id']}/cancel", json={"reason": text})
    # A name may not mislead whoever reads it; every other text may be anything.
    name = "odd" if misleads(text) else text
    agent = {"agent_id": "odd", "name": name, "description": text, "instructions": text}
    made = await client.post("/v1/agents", json=agent)
    again = await client.post("/v1/tools/calculator/invoke", json={"args": {text: text}})
    call = await _get(client, f"/v1/tool_calls/{again.json()['tool_call_id']}")

    assert (await _get(client, f"/v1/runs/{run['run_id']}"))["metadata"] == {text: text}
    assert cancelled.status_code == 202
    assert made.json()["instructions"] == text
    assert call["args"] == {text: text}
    assert (await _get(client, "/v1/sessions/s/messages"))["messages"][0]["content"] == text


async def test_the_same_key_is_the_same_run_and_another_body_a_conflict(
    client: httpx2.AsyncClient,
) -> None:
    headers = {"idempotency-key": "k"}
    first = await client.post("/v1/runs", json={"input": "x"}, headers=headers)
    again = await client.post("/v1/runs", json={"input": "x"}, headers=headers)
    other = await client.post("/v1/runs", json={"input": "y"}, headers=headers)

    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status_code == 409


async def test_a_stream_of_the_real_log_resumes(client: httpx2.AsyncClient) -> None:
    run = (await client.post("/v1/runs", json={"input": "x"})).json()
    path = f"/v1/runs/{run['run_id']}/events"

    page = await _get(client, f"{path}?types=user_input")
    later = await _get(client, f"{path}?after_ts={page['events'][0]['ts'] + 60_000}")

    assert [event["type"] for event in page["events"]] == ["user_input"]
    assert later["events"] == []


async def test_figures_of_the_pool_come_from_the_store(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/runs", json={"input": "x"})

    stats = await _get(client, "/api/v1/stats")
    metrics = await client.get("/metrics")

    assert stats["total_requests"] == stats["active_requests"] == 1
    assert 'orchestrator_runs{state="CREATED"} 1.0' in metrics.text


async def test_a_call_is_asked_for_and_decided(client: httpx2.AsyncClient, store: StoreBox) -> None:
    """The agent's policy, as it was sent, holds in the store; the first answer counts."""
    policy = {"rules": [{"tool": "mail", "decision": "ask"}]}
    await client.patch("/v1/agents/assistant", json={"tool_policy": policy})
    await store.runs.accept(new_run("run_1", agent_id="assistant", owner="local"))
    await store.steps.close(await open_step(store, "run_1"), asks_tool(Effect.UNSAFE))
    asked = await store.steps.open(execution("run_1", "tool-1-0"))

    (shown,) = await _walk(client, "/v1/approvals", "approvals")
    path = f"/v1/approvals/{shown['approval_id']}"
    answers = [
        await client.post(
            f"{path}/decide", json={"decision": decision}, headers={"idempotency-key": key}
        )
        for decision, key in (("reject", "k"), ("reject", "k"), ("approve", "k"), ("approve", "l"))
    ]

    assert isinstance(asked, AwaitingApproval)
    assert shown["args"] == {"to": "bob"}
    assert [answer.status_code for answer in answers] == [200, 200, 409, 409]
    assert [answer.json()["code"] for answer in answers[2:]] == [
        "idempotency_key_conflict",
        "approval_decided",
    ]
    assert answers[0].json()["tool_call_status"] == "rejected"
    assert answers[1].json() == answers[0].json()
    assert (await _get(client, path))["decided_by"] == "local"


async def test_a_message_that_steers_is_answered_with_the_run_it_went_to(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    first = await client.post("/v1/runs", json={"input": "one", "session_id": "s"})
    run_id = first.json()["run_id"]
    body = {"input": "two", "session_id": "s", "on_busy": "steer"}
    key = {"idempotency-key": "k"}

    steered = await client.post("/v1/runs", json=body, headers=key)
    again = await client.post("/v1/runs", json=body, headers=key)

    for answer in (steered, again):
        assert answer.status_code == 202
        assert answer.json()["run_id"] == run_id
        assert answer.headers["location"] == f"/v1/runs/{run_id}"
    assert again.headers["idempotency-replayed"] == "true"
    messages = (await _get(client, "/v1/sessions/s/messages"))["messages"]
    assert [(one["content"], one["seq"]) for one in messages] == [("one", 1), ("two", None)]


async def test_the_stream_of_a_message_that_steers_begins_with_it(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    first = await client.post("/v1/runs", json={"input": "one", "session_id": "s"})
    body = {"input": "two", "session_id": "s", "on_busy": "steer"}
    streaming = asyncio.ensure_future(
        client.post("/v1/runs", json=body, headers={"accept": "text/event-stream"})
    )
    while len(await store.all("SELECT 1 FROM messages")) < 2:
        await asyncio.sleep(0.005)

    await store.steps.finalize(first.json()["run_id"], FAILED)

    lines = (await streaming).text.splitlines()
    assert [line for line in lines if line.startswith("id:")] == ["id: 3", "id: 4", "id: 5"]


async def test_an_interrupt_tells_the_engine_of_every_run_it_stops(
    client: httpx2.AsyncClient, gateway: QuietGateway
) -> None:
    body = {"input": "x", "session_id": "s"}
    stopped = [(await client.post("/v1/runs", json=body)).json()["run_id"] for _ in range(3)]

    last = await client.post("/v1/runs", json={**body, "on_busy": "interrupt"})

    assert last.status_code == 202
    async with asyncio.timeout(10):
        while len(gateway.cancelled) < len(stopped):
            await asyncio.sleep(0.005)
    assert sorted(gateway.cancelled) == sorted(stopped)


async def test_a_goal_bounds_the_runs_that_name_it(client: httpx2.AsyncClient) -> None:
    body = {"title": "Launch", "limits": {"max_concurrent": 1}}
    goal = (await client.post("/v1/goals", json=body)).json()
    path, start = f"/v1/goals/{goal['goal_id']}", {"input": "x", "goal_id": goal["goal_id"]}

    first = await client.post("/v1/runs", json=start)
    full = await client.post("/v1/runs", json=start)
    seen = await _get(client, path)
    stopped = await client.patch(path, json={"state": "cancelled"})
    closed = await client.post("/v1/runs", json=start)
    nowhere = await client.post("/v1/runs", json={**start, "goal_id": "goal_no"})

    assert first.json()["goal_id"] == goal["goal_id"]
    assert (full.status_code, full.json()["reason"]) == (409, "max_concurrent")
    assert (seen["state"], seen["progress"]["runs"]) == ("in_progress", {"CREATED": 1})
    assert stopped.json()["state"] == "cancelled"
    assert (closed.status_code, nowhere.status_code) == (409, 404)
    assert (await _get(client, f"/v1/runs/{first.json()['run_id']}"))["state"] == "CREATED"
    assert len(await _walk(client, "/v1/goals", "goals")) == 1
    (budget,) = await _walk(client, "/v1/budgets", "budgets")
    assert (budget["budget_id"], budget["limit_usd"]) == (goal["budget_id"], "10")
