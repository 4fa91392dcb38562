"""Tool hosts over HTTP and both databases: what they register, poll for and are told."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx2
import pytest

from api.polling import announced
from domain.clients import Claim
from domain.principal import LOCAL_OWNER, Scope
from tests.contract.client_api_scenes import HOST, TOOL, calling, start
from tests.contract.store_engines import StoreBox
from tests.fakes.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(store: StoreBox, world: World) -> AsyncIterator[httpx2.AsyncClient]:
    async with calling(store, world) as made:
        yield made


async def test_another_owner_sees_nothing_of_it(
    client: httpx2.AsyncClient, store: StoreBox, world: World
) -> None:
    call_id = await start(client, store)
    token = (await client.post(f"/v1/tool_calls/{call_id}/claim")).json()["token"]
    await client.put(HOST, json={"tools": [TOOL]})
    admin = await _key(client, [Scope.ADMIN], None)
    bob = await _key(client, [Scope.READ, Scope.INVOKE], "bob", admin)
    as_bob = {"authorization": f"Bearer {bob}"}

    answers = [
        await client.post(f"/v1/tool_calls/{call_id}/claim", headers=as_bob),
        await client.post(
            f"/v1/tool_calls/{call_id}/submit",
            json={"token": token, "result": 1},
            headers=as_bob,
        ),
        await client.post(f"/v1/tool_calls/{call_id}/wait", headers=as_bob),
        await client.get(HOST, headers=as_bob),
        await client.delete(HOST, headers=as_bob),
        await client.post(f"{HOST}/poll", headers=as_bob),
        await client.post(f"{HOST}/heartbeat", headers=as_bob),
        await client.get(f"{HOST}/requests", headers=as_bob),
    ]

    assert {one.status_code for one in answers} == {404}
    assert (await client.get("/v1/tool_hosts", headers=as_bob)).json()["tool_hosts"] == []
    tools = (await client.get("/v1/tools", headers=as_bob)).json()["tools"]
    assert "mail" not in {tool["name"] for tool in tools}


async def _key(
    client: httpx2.AsyncClient, scopes: list[Scope], owner: str | None, admin: str | None = None
) -> str:
    body = {"name": owner or "admin", "scopes": scopes} | ({"owner": owner} if owner else {})
    headers = {"authorization": f"Bearer {admin}"} if admin else {}
    made = await client.post("/v1/keys", json=body, headers=headers)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


async def test_a_host_of_another_key_is_not_spoken_for(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    admin = await _key(client, [Scope.ADMIN], None)
    mine, other = [await _key(client, [Scope.INVOKE], LOCAL_OWNER, admin) for _ in range(2)]
    mine_headers, others = [{"authorization": f"Bearer {key}"} for key in (mine, other)]
    body = {"tools": [TOOL]}
    assert (await client.put(HOST, json=body, headers=mine_headers)).status_code == 200

    refused = [
        await client.put(HOST, json=body, headers=others),
        await client.put("/v1/tool_hosts/evil", json=body, headers=others),
        await client.post(f"{HOST}/poll", headers=others),
        await client.delete(HOST, headers=others),
    ]

    assert {one.status_code for one in refused} == {403}
    deleted = await client.delete(HOST, headers=mine_headers)
    assert deleted.status_code == 204


async def test_a_host_registers_polls_and_beats(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    await client.put(HOST, json={"tools": [TOOL], "lease_seconds": 5})
    changed = {"name": "A", "tools": ["mail", "calculator"]}
    assert (await client.patch("/v1/agents/assistant", json=changed)).status_code == 200
    call_id = await start(client, store, client_tools=[])

    listed = (await client.get(f"{HOST}/requests")).json()["requests"]
    key = {"idempotency-key": "p1"}
    (taken,) = (await client.post(f"{HOST}/poll", headers=key)).json()["requests"]
    (again,) = (await client.post(f"{HOST}/poll", headers=key)).json()["requests"]
    nothing = (await client.post(f"{HOST}/poll", json={"wait_seconds": 0.05})).json()["requests"]
    beat = await client.post(f"{HOST}/heartbeat", json={"tool_calls": [call_id, "tc_no"]})

    assert [one["tool_call_id"] for one in listed] == [call_id]
    assert "token" not in listed[0]
    assert (taken["holder"], taken["dispatch"], again["dispatch"]) == ("laptop", 1, 1)
    assert taken["token"] != again["token"]
    assert nothing == []
    assert (beat.json()["kept"], beat.json()["lost"]) == ([call_id], ["tc_no"])
    shown = (await client.get("/v1/tool_hosts")).json()["tool_hosts"]
    assert [(host["host_id"], host["is_there"]) for host in shown] == [("laptop", True)]
    tool = (await client.get("/v1/tools/mail")).json()
    assert (tool["source"], tool["effect"]) == ("client", "none")


async def poll_until_asked(client: httpx2.AsyncClient) -> list[dict[str, object]]:
    """Ask again when the longest wait of this API is over: a database may be slower than that."""
    found: list[dict[str, object]] = []
    while not found:
        answer = await client.post(f"{HOST}/poll", json={"wait_seconds": 30})
        found = answer.json()["requests"]
    return found


async def test_a_poll_waits_for_the_first_request(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    await client.put(HOST, json={"tools": [TOOL]})
    await client.patch("/v1/agents/assistant", json={"tools": ["mail"]})
    polling = asyncio.create_task(poll_until_asked(client))

    call_id = await start(client, store, client_tools=[])

    requests = await polling
    assert [one["tool_call_id"] for one in requests] == [call_id]


async def test_a_stream_announces_each_request_once_and_keeps_the_host(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    await client.put(HOST, json={"tools": [TOOL]})
    await client.patch("/v1/agents/assistant", json={"tools": ["mail"]})
    first = await start(client, store, client_tools=[])
    who = Claim(owner=LOCAL_OWNER, caller=LOCAL_OWNER, name="local", host_id="laptop")
    frames = announced(store.clients, who, 0.001)
    before = (await store.clients.get_host(LOCAL_OWNER, "laptop")).alive_until

    seen = [await anext(frames)]
    second = await start(client, store, client_tools=[])
    seen.append(await anext(frames))
    await frames.aclose()

    told = [json.loads(frame.split(b"data: ")[1]) for frame in seen]
    assert [one["tool_call_id"] for one in told] == [first, second]
    assert b"token" not in b"".join(seen)
    assert (await store.clients.get_host(LOCAL_OWNER, "laptop")).alive_until > before


async def test_names_of_tools_are_taken_once(client: httpx2.AsyncClient) -> None:
    await client.patch("/v1/agents/assistant", json={"tools": ["calculator"]})
    ours = {**TOOL, "name": "calculator"}

    twice = await client.post("/v1/runs", json={"input": "x", "client_tools": [TOOL, TOOL]})
    shadowing = await client.post("/v1/runs", json={"input": "x", "client_tools": [ours]})
    hosted = await client.put(HOST, json={"tools": [ours]})
    both = await client.put(HOST, json={"tools": [TOOL, TOOL]})

    assert [one.status_code for one in (twice, shadowing, hosted, both)] == [422, 422, 409, 422]


async def test_an_agent_may_not_name_a_tool_that_no_host_runs(client: httpx2.AsyncClient) -> None:
    refused = await client.patch("/v1/agents/assistant", json={"tools": ["mail"]})

    assert refused.status_code == 422
    assert "mail" in refused.json()["detail"]


async def test_a_host_named_at_the_start_is_the_only_one_asked(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    for host in ("laptop", "desk"):
        await client.put(f"/v1/tool_hosts/{host}", json={"tools": []})
    call_id = await start(client, store, tool_host_id="laptop")

    desk = await client.post(f"/v1/tool_calls/{call_id}/claim", json={"host_id": "desk"})
    nobody = await client.post(f"/v1/tool_calls/{call_id}/claim")
    unknown = await client.post(f"/v1/tool_calls/{call_id}/claim", json={"host_id": "x"})
    laptop = await client.post(f"/v1/tool_calls/{call_id}/claim", json={"host_id": "laptop"})

    codes = [one.status_code for one in (desk, nobody, unknown, laptop)]
    assert codes == [403, 403, 404, 200]
    assert laptop.json()["lease_until"] is not None


async def test_seed_bs_paths_register_and_submit(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    body = {
        "client_id": "laptop",
        "tools": [{"name": "mail", "schema": {"type": "object"}, "timeout_ms": 5000}],
    }
    made = await client.post("/internal/tools/register", json=body)
    assert made.json() == {"ok": True, "registered_count": 1}
    await client.patch("/v1/agents/assistant", json={"tools": ["mail"]})
    call_id = await start(client, store, client_tools=[{"effect": "unsafe"}][:0])
    (taken,) = (await client.post(f"{HOST}/poll")).json()["requests"]
    at = f"/internal/tool_calls/{call_id}/submit"

    forged = await client.post(at, json={"status": "SUCCEEDED", "token": "x", "result": 1})
    bare = await client.post(at, json={"status": "SUCCEEDED", "result": 1})
    said = {"status": "FAILED", "token": taken["token"], "error": {"message": "no paper"}}
    done = await client.post(at, json=said)

    assert (forged.status_code, forged.json()["error"]["code"]) == (403, "dispatch_refused")
    assert bare.status_code == 422
    assert (done.status_code, done.json()["status"]) == (200, "FAILED")
    assert done.json()["error"]["message"] == "no paper"
    assert isinstance(done.json()["completed_at"], int)
