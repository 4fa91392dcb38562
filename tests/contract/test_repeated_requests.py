"""One Idempotency-Key is one run, tool call or session, however often and however fast it comes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from api.app import create_app
from tests.contract.playing import PlayingGateway
from tests.contract.store_api import ports_over
from tests.contract.store_engines import StoreBox
from tests.fakes.world import World, fake_config

KEY = {"idempotency-key": "k1"}
SAID = {"role": "user", "content": "Hi"}
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "/internal/invoke": (
        {"session_id": "s", "agent_id": "assistant", "input_message": SAID},
        {"input_message": {"role": "user", "content": "Something else"}},
        "run_id",
    ),
    "/api/v1/request": (
        {"tool_name": "calculator", "params": {"operation": "add", "a": 2, "b": 3}},
        {"params": {"operation": "add", "a": 2, "b": 4}},
        "request_id",
    ),
    "/api/chat": ({"message": "Hi"}, {"message": "Something else"}, "timestamp"),
    "/v1/sessions": ({}, {"metadata": {"a": 1}}, "session_id"),
}


@pytest.fixture
async def client(store: StoreBox) -> AsyncIterator[httpx2.AsyncClient]:
    ports = ports_over(store, World().ports(), PlayingGateway(store))
    transport = httpx2.ASGITransport(create_app(ports, fake_config(max_wait_seconds=10)))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        agent = {"agent_id": "assistant", "name": "A", "models": ["offline/echo"]}
        assert (await client.post("/v1/agents", json=agent)).status_code == 201
        yield client


@pytest.mark.parametrize("path", WAYS)
async def test_twelve_posts_with_one_key_do_one_thing(
    client: httpx2.AsyncClient, path: str
) -> None:
    body, _, named = WAYS[path]

    answers = await asyncio.gather(*(client.post(path, json=body, headers=KEY) for _ in range(12)))
    apart = await client.post(path, json=body, headers={"idempotency-key": "k2"})

    assert {answer.is_success for answer in answers} == {True}, answers[0].text
    assert len({answer.json()[named] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert "idempotency-replayed" not in apart.headers
    runs = (await client.get("/v1/runs")).json()["runs"]
    sessions = (await client.get("/v1/sessions")).json()["sessions"]
    assert len(sessions if path == "/v1/sessions" else runs) == 2


@pytest.mark.parametrize("path", WAYS)
async def test_a_key_that_was_used_with_another_body_is_refused(
    client: httpx2.AsyncClient, path: str
) -> None:
    body, other, _ = WAYS[path]
    await client.post(path, json=body, headers=KEY)

    answer = await client.post(path, json={**body, **other}, headers=KEY)

    assert answer.status_code == 409
    assert "idempotency_key_conflict" in answer.text


async def test_a_header_that_disagrees_with_request_id_is_refused(
    client: httpx2.AsyncClient,
) -> None:
    body = {**WAYS["/internal/invoke"][0], "request_id": "k1"}

    other = await client.post("/internal/invoke", json=body, headers={"idempotency-key": "k2"})
    same = await client.post("/internal/invoke", json=body, headers=KEY)
    alone = await client.post("/internal/invoke", json=body)

    assert (other.status_code, other.json()["error"]["code"]) == (400, "conflicting_keys")
    assert same.status_code == 202
    assert alone.json() == same.json()


async def test_the_key_of_a_session_that_is_gone_says_so(client: httpx2.AsyncClient) -> None:
    made = await client.post("/v1/sessions", json={}, headers=KEY)
    await client.delete(f"/v1/sessions/{made.json()['session_id']}")

    again = await client.post("/v1/sessions", json={}, headers=KEY)

    assert again.status_code == 404
