"""Calls that clients run, over HTTP and both databases: every refusal by its documented status."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.contract.client_api_scenes import HOST, TOOL, calling, start
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import execution
from tests.fakes.world import World

HUGE = "x" * (513 * 1024)


@pytest.fixture
async def client(store: StoreBox) -> AsyncIterator[httpx2.AsyncClient]:
    async with calling(store, World()) as made:
        yield made


async def test_a_call_is_claimed_answered_and_shown(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    call_id = await start(client, store)
    at = f"/v1/tool_calls/{call_id}"

    taken = (await client.post(f"{at}/claim")).json()
    pending = (await client.post(f"{at}/wait?timeout_ms=0")).json()
    done = await client.post(f"{at}/submit", json={"token": taken["token"], "result": {"n": 1}})
    waited = (await client.post(f"{at}/wait")).json()
    by_body = await client.post(f"{at}/wait", json={"timeout_ms": 0})
    twice = await client.post(f"{at}/wait?timeout_ms=0", json={"timeout_ms": 5})
    unknown = await client.post(f"{at}/wait", json={"seconds": 5})
    too_long = await client.post(f"{at}/wait", json={"timeout_ms": 60_001})
    refused = [one.status_code for one in (twice, unknown, too_long)]
    assert (by_body.json(), refused) == (waited, [422, 422, 422])

    assert (taken["args"], taken["holder"], taken["dispatch"]) == ({"to": "bob"}, "local", 1)
    assert pending["status"] == "running"
    assert (done.status_code, done.json()["result"]) == (200, {"n": 1})
    assert waited == done.json() == (await client.get(at)).json()
    again = await client.post(f"{at}/submit", json={"token": taken["token"], "result": {"n": 1}})
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")


async def test_a_claim_is_repeated_by_its_key(client: httpx2.AsyncClient, store: StoreBox) -> None:
    at = f"/v1/tool_calls/{await start(client, store)}"
    headers = {"idempotency-key": "k1"}

    first, again, other = [
        await client.post(f"{at}/claim", headers=sent) for sent in (headers, headers, {})
    ]

    assert [one.status_code for one in (first, again, other)] == [200, 200, 409]
    assert other.json()["code"] == "request_taken"
    old = await client.post(f"{at}/submit", json={"token": first.json()["token"], "result": 1})
    assert (old.status_code, old.json()["code"]) == (409, "dispatch_superseded")
    new = await client.post(f"{at}/submit", json={"token": again.json()["token"], "result": 1})
    assert new.status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"token": "dt_" + "A" * 43, "result": 1}, 403, "dispatch_refused"),
        ({"token": "naïve 🚀", "result": 1}, 403, "dispatch_refused"),
        ({"result": 1}, 422, "invalid_request"),
        ({"token": "TOKEN"}, 422, "invalid_request"),
        ({"token": "", "result": 1}, 422, "invalid_request"),
        ({"token": 7, "result": 1}, 422, "invalid_request"),
        ({"token": "TOKEN", "result": 1, "error": {"message": "x"}}, 422, "invalid_request"),
        ({"token": "TOKEN", "error": {"message": ""}}, 422, "invalid_request"),
        ({"token": "TOKEN", "error": {"message": "x", "code": "A B"}}, 422, "invalid_request"),
        ({"token": "TOKEN", "result": 1, "by": "boss"}, 422, "invalid_request"),
        ({"token": "TOKEN", "result": HUGE}, 413, "request_too_large"),
        ({"token": "TOKEN", "result": {"deep": "wrong"}}, 422, "invalid_request"),
    ],
)
async def test_a_result_with_a_mistake_changes_nothing(
    client: httpx2.AsyncClient, store: StoreBox, body: dict[str, Any], status: int, code: str
) -> None:
    schema = {"type": ["integer", "string"]}
    call_id = await start(client, store, client_tools=[{**TOOL, "result_schema": schema}])
    taken = (await client.post(f"/v1/tool_calls/{call_id}/claim")).json()
    sent = {key: taken["token"] if one == "TOKEN" else one for key, one in body.items()}

    refused = await client.post(f"/v1/tool_calls/{call_id}/submit", json=sent)

    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert (await client.get(f"/v1/tool_calls/{call_id}")).json()["status"] == "running"


async def test_other_refusals_have_their_status(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    call_id = await start(client, store)
    token = (await client.post(f"/v1/tool_calls/{call_id}/claim")).json()["token"]
    at = f"/v1/tool_calls/{call_id}/submit"
    store.clock.now += 10**9

    late = await client.post(at, json={"token": token, "result": 1})
    missing = await client.post("/v1/tool_calls/tc_no/submit", json={"token": "x", "result": 1})
    claimed_late = await client.post(f"/v1/tool_calls/{call_id}/claim")

    assert (late.status_code, late.json()["code"]) == (410, "request_expired")
    assert missing.status_code == 404
    assert claimed_late.status_code == 410


@pytest.mark.parametrize(
    ("tool", "status"),
    [
        ({"name": "a b"}, 422),
        ({"name": "x" * 65}, 422),
        ({"name": "spawn_run"}, 422),
        ({"description": ""}, 422),
        ({"parameters": {"type": "string"}}, 422),
        ({"parameters": {"x": "y" * 70_000}}, 422),
        ({"result_schema": {"$ref": "#"}}, 422),
        ({"result_schema": {"type": "strange"}}, 422),
        ({"result_schema": []}, 422),
        ({"effect": "maybe"}, 422),
        ({"timeout_seconds": 0}, 422),
        ({"timeout_seconds": 10**12}, 422),
        ({"offline": "later"}, 422),
        ({"offline": "fail"}, 422),
        ({"surprise": 1}, 422),
        ({}, 202),
    ],
)
async def test_a_run_is_refused_a_tool_with_a_mistake(
    client: httpx2.AsyncClient, tool: dict[str, Any], status: int
) -> None:
    body = {"input": "x", "client_tools": [{**TOOL, **tool}]}

    assert (await client.post("/v1/runs", json=body)).status_code == status


@pytest.mark.parametrize(
    ("parameters", "place"),
    [
        ({"properties": {"a": {"type": "nope"}}}, "parameters.properties.a.type"),
        ({"properties": {"a": {"pattern": "["}}}, "parameters.properties.a.pattern"),
        ({"$ref": "#/$defs/x", "$defs": {"x": {}}}, "parameters.$ref"),
        ({"a": {"type": "nope"}}, "parameters.a"),
    ],
)
async def test_a_broken_schema_is_refused_by_the_name_of_its_tool_and_its_place(
    client: httpx2.AsyncClient, parameters: dict[str, Any], place: str
) -> None:
    tool = {**TOOL, "parameters": parameters}
    seeds = {"client_id": "h", "tools": [{"name": TOOL["name"], "schema": parameters}]}

    answers = [
        await client.post("/v1/runs", json={"input": "x", "client_tools": [tool]}),
        await client.put("/v1/tool_hosts/h", json={"tools": [tool]}),
        await client.post("/internal/tools/register", json=seeds),
    ]

    assert [answer.status_code for answer in answers] == [422] * 3
    assert all(f"tool {TOOL['name']}: {place}" in answer.text for answer in answers)


async def test_an_external_agent_takes_no_client_tools(client: httpx2.AsyncClient) -> None:
    agent = {"agent_id": "far", "name": "Far", "endpoint": "http://localhost:9"}
    assert (await client.post("/v1/agents/register", json=agent)).status_code == 201

    body = {"input": "x", "agent_id": "far", "client_tools": [TOOL]}

    assert (await client.post("/v1/runs", json=body)).status_code == 422


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("no paper", "no paper"),
        (None, "it failed"),
        ([1], "[1]"),
        ("", "the client says"),
    ],
)
async def test_seed_bs_errors_may_be_anything(
    client: httpx2.AsyncClient, store: StoreBox, error: object, message: str
) -> None:
    call_id = await start(client, store)
    token = (await client.post(f"/v1/tool_calls/{call_id}/claim")).json()["token"]

    said = {"status": "FAILED", "token": token, "error": error}
    done = await client.post(f"/internal/tool_calls/{call_id}/submit", json=said)

    assert message in done.json()["error"]["message"]


async def test_a_clients_tool_called_by_hand_is_pending_at_once(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    await client.put(HOST, json={"tools": [TOOL]})

    said = (await client.post("/v1/tools/mail/invoke", json={"args": {"to": "bob"}})).json()

    assert said["status"] == "pending"
    await store.steps.open(execution(said["run_id"], "tool-1-0"))
    (taken,) = (await client.post(f"{HOST}/poll")).json()["requests"]
    assert taken["tool_call_id"] == said["tool_call_id"]


async def test_a_client_that_does_not_know_leaves_an_unsafe_call_to_a_person(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    call_id = await start(client, store, client_tools=[{**TOOL, "effect": "unsafe"}])
    at = f"/v1/tool_calls/{call_id}"
    token = (await client.post(f"{at}/claim")).json()["token"]
    body = {"token": token, "error": {"code": "outcome_unknown", "message": "the line broke"}}

    done = await client.post(f"{at}/submit", json=body)
    again = await client.post(f"{at}/submit", json=body)

    assert done.json()["status"] == again.json()["status"] == "outcome_unknown"
    said = {"outcome": "happened", "result": "sent"}
    resolved = await client.post(f"{at}/resolve", json=said)
    assert resolved.json()["status"] == "succeeded"
