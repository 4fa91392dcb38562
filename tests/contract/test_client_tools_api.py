"""Tools of clients over HTTP, on both databases: every refusal by its documented status."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from api.app import create_app, drain
from api.polling import announced
from api.ports import StreamConfig
from domain.clients import Claim
from domain.principal import LOCAL_OWNER, Scope
from domain.step import AwaitingClient
from domain.tool import Effect
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import asks_tool, execution, open_step
from tests.contract.test_api_over_store import _QuietGateway
from tests.fakes.world import World, fake_config

TOOL: dict[str, Any] = {"name": "mail", "description": "Send.", "effect": "none"}
HOST = "/v1/tool_hosts/laptop"
HUGE = "x" * (513 * 1024)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def client(store: StoreBox, world: World) -> AsyncIterator[httpx2.AsyncClient]:
    fakes = world.ports()
    intake = replace(
        fakes.intake,
        runs=store.runs,
        directory=store.directory,
        hosted=store.clients,
        gateway=_QuietGateway(),
    )
    ports = replace(
        fakes,
        intake=intake,
        events=store.log,
        approvals=store.approvals,
        clients=store.clients,
        keys=store.keys,
        clock=store.clock,
    )
    stream = StreamConfig(requests_seconds=0.01)
    app = create_app(ports, fake_config(max_wait_seconds=0.2, stream=stream))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://localhost"
    ) as made:
        agent = {"agent_id": "assistant", "name": "Assistant"}
        assert (await made.post("/v1/agents", json=agent)).status_code == 201
        yield made
    # What goes on behind answers has to end before its database goes.
    await drain(app, 5)


async def start(client: httpx2.AsyncClient, store: StoreBox, **fields: Any) -> str:
    """Start a run that asks a client for one call; return the call."""
    fields.setdefault("client_tools", [TOOL])
    answer = await client.post("/v1/runs", json={"input": "x", **fields})
    assert answer.status_code == 202, answer.text
    run_id = answer.json()["run_id"]
    await store.steps.close(await open_step(store, run_id), _asks(fields["client_tools"]))
    found = await store.steps.open(execution(run_id, "tool-1-0"))
    assert isinstance(found, AwaitingClient), found
    return found.tool_call_id


def _asks(tools: list[dict[str, Any]]) -> Any:
    return asks_tool(Effect(tools[0].get("effect", "unsafe") if tools else "none"))


async def test_a_call_is_claimed_answered_and_shown(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    call_id = await start(client, store)
    at = f"/v1/tool_calls/{call_id}"

    taken = (await client.post(f"{at}/claim")).json()
    pending = (await client.post(f"{at}/wait?timeout_ms=0")).json()
    done = await client.post(f"{at}/submit", json={"token": taken["token"], "result": {"n": 1}})
    waited = (await client.post(f"{at}/wait")).json()

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


async def test_a_poll_waits_for_the_first_request(
    client: httpx2.AsyncClient, store: StoreBox
) -> None:
    await client.put(HOST, json={"tools": [TOOL]})
    await client.patch("/v1/agents/assistant", json={"tools": ["mail"]})
    polling = asyncio.create_task(client.post(f"{HOST}/poll", json={"wait_seconds": 30}))

    call_id = await start(client, store, client_tools=[])

    requests = (await polling).json()["requests"]
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


@pytest.mark.parametrize(
    ("tool", "status"),
    [
        ({"name": "a b"}, 422),
        ({"name": "x" * 65}, 422),
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


async def test_names_of_tools_are_taken_once(client: httpx2.AsyncClient) -> None:
    await client.patch("/v1/agents/assistant", json={"tools": ["calculator"]})
    ours = {**TOOL, "name": "calculator"}

    twice = await client.post("/v1/runs", json={"input": "x", "client_tools": [TOOL, TOOL]})
    shadowing = await client.post("/v1/runs", json={"input": "x", "client_tools": [ours]})
    hosted = await client.put(HOST, json={"tools": [ours]})
    both = await client.put(HOST, json={"tools": [TOOL, TOOL]})

    assert [one.status_code for one in (twice, shadowing, hosted, both)] == [422, 422, 409, 422]


async def test_an_external_agent_takes_no_client_tools(client: httpx2.AsyncClient) -> None:
    agent = {"agent_id": "far", "name": "Far", "endpoint": "http://localhost:9"}
    assert (await client.post("/v1/agents/register", json=agent)).status_code == 201

    body = {"input": "x", "agent_id": "far", "client_tools": [TOOL]}

    assert (await client.post("/v1/runs", json=body)).status_code == 422


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


@pytest.mark.parametrize(
    ("error", "message"),
    [("no paper", "no paper"), (None, "null"), ([1], "[1]"), ("", "the client says")],
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
