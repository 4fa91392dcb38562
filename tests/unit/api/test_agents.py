"""Agents over HTTP."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from adapters.net.policy import LOOPBACK, AddressPolicy
from api.app import create_app
from domain.principal import Scope
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect

TUTOR: dict[str, Any] = {
    "agent_id": "tutor",
    "name": "Tutor",
    "description": "explains",
    "instructions": "Explain.",
    "models": ["offline/echo", "openai/gpt-x"],
    "tools": ["calculator"],
    "limits": {"max_turns": 3},
    "metadata": {"team": "a"},
}


async def test_an_agent_is_made_changed_and_removed(
    client: httpx2.AsyncClient, world: World
) -> None:
    made = await client.post("/v1/agents", json=TUTOR)
    world.clock.now += 5
    changed = await client.patch(
        "/v1/agents/tutor",
        json={"name": "T", "models": ["offline/echo"], "limits": {"max_tokens": 5}},
    )
    removed = await client.delete("/v1/agents/tutor")
    gone = await client.get("/v1/agents/tutor")

    assert made.status_code == 201
    assert made.headers["location"] == "/v1/agents/tutor"
    assert made.json()["limits"]["max_turns"] == 3
    assert changed.json()["name"] == "T"
    assert changed.json()["models"] == ["offline/echo"]
    assert changed.json()["tools"] == ["calculator"]
    assert changed.json()["limits"]["max_turns"] is None
    assert changed.json()["updated_at"] > made.json()["updated_at"]
    assert removed.status_code == 204
    assert gone.status_code == 404


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"agent_id": "register"}, "body.agent_id"),
        ({"name": "Tutor\u202egnp.exe"}, "body.name"),
        ({"name": "a\nb"}, "body.name"),
        ({"capabilities": ["sums\u2066"]}, "body.capabilities.0"),
        ({"models": ["offline/nonexistent"]}, "body.models"),
        ({"tools": ["calculator", "calculator"]}, "body.tools"),
    ],
)
async def test_an_agent_that_could_not_be_used_or_misleads_is_refused(
    client: httpx2.AsyncClient, changed: dict[str, Any], field: str
) -> None:
    answer = await client.post("/v1/agents", json={**TUTOR, **changed})

    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_name_of_any_script_is_fine(client: httpx2.AsyncClient) -> None:
    name = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \U0001f469\u200d\U0001f52c"

    answer = await client.post("/v1/agents", json={**TUTOR, "name": name})

    assert answer.json()["name"] == name


async def test_a_run_takes_its_agent_along(client: httpx2.AsyncClient, world: World) -> None:
    await client.post("/v1/agents", json=TUTOR)

    await client.post("/v1/runs", json={"input": "x", "agent_id": "tutor"})

    spec = world.runs.accepted[0].spec
    assert spec.models == ("offline/echo", "openai/gpt-x")
    assert [tool.name for tool in spec.tools] == ["calculator"]
    assert (spec.limits.max_turns, spec.limits.max_cost_usd) == (3, "1.00")


async def test_an_id_that_is_taken_is_a_conflict(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/agents", json=TUTOR)

    assert (await client.post("/v1/agents", json=TUTOR)).status_code == 409


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"models": ["nobody/gpt"]}, "nobody"),
        ({"models": ["noslash"]}, "noslash"),
        ({"tools": ["calculator", "teleport"]}, "teleport"),
        ({"kind": "http"}, "endpoint"),
        ({"endpoint": "http://localhost:1"}, "endpoint"),
    ],
)
async def test_an_agent_no_run_could_be_made_of_is_refused(
    client: httpx2.AsyncClient, changes: dict[str, object], word: str
) -> None:
    made = await client.post("/v1/agents", json={**TUTOR, **changes})
    await client.post("/v1/agents", json=TUTOR)
    kind = changes.pop("kind", None)
    changed = await client.patch("/v1/agents/tutor", json=changes)

    assert made.status_code == 422
    assert made.json()["code"] == "invalid_request"
    assert word in made.json()["detail"]
    assert kind == "http" or changed.status_code == 422


@pytest.mark.parametrize(
    "endpoint",
    ["http://169.254.169.254/latest", "file:///etc/passwd", "gopher://localhost", "localhost"],
)
async def test_an_address_that_may_not_be_contacted_is_refused(
    client: httpx2.AsyncClient, endpoint: str
) -> None:
    """Attack 8, at registration; the guard at the socket is the one that counts."""
    body = {"agent_id": "x", "name": "X", "endpoint": endpoint}

    native = await client.post("/v1/agents", json={**body, "kind": "http"})
    seed = await client.post("/v1/agents/register", json=body)

    assert native.status_code == seed.status_code == 422
    assert native.json()["code"] == seed.json()["code"] == "address_refused"


@pytest.mark.parametrize("endpoint", ["http://localhost:9000/x?y=", "http://localhost:9000#z"])
async def test_an_endpoint_with_a_query_or_a_fragment_is_refused(
    client: httpx2.AsyncClient, endpoint: str
) -> None:
    """The agent protocol appends `/invoke`, which would be no part of the path then."""
    body = {"agent_id": "x", "name": "X", "endpoint": endpoint}
    await client.post("/v1/agents/register", json={**body, "endpoint": "http://localhost:9000"})

    answers = [
        await client.post("/v1/agents", json={**body, "agent_id": "y", "kind": "http"}),
        await client.post("/v1/agents/register", json=body),
        await client.patch("/v1/agents/x", json={"endpoint": endpoint}),
    ]

    assert {answer.status_code for answer in answers} == {422}
    assert all("no query and no fragment" in answer.text for answer in answers)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://localhost:99999",
        "http://example.com:22",
        "http://169.254.169.254",
        "http://10.0.0.1:8080",
    ],
)
async def test_the_operators_rule_is_asked_wherever_an_endpoint_is_given(
    world: World, connect: Connect, endpoint: str
) -> None:
    policy = AddressPolicy(allow_private_hosts=LOOPBACK)
    client = connect(create_app(replace(world.ports(), addresses=policy), fake_config()))
    fine = {"agent_id": "mine", "name": "Mine", "endpoint": "http://127.0.0.1:9999"}
    bad = {**fine, "agent_id": "x", "endpoint": endpoint}

    made = await client.post("/v1/agents", json={**fine, "kind": "http"})
    refused = [
        await client.post("/v1/agents", json={**bad, "kind": "http"}),
        await client.post("/v1/agents/register", json=bad),
        await client.post("/v1/agents/register", json={**bad, "agent_id": "mine"}),
        await client.patch("/v1/agents/mine", json={"endpoint": endpoint}),
    ]

    assert made.status_code == 201
    assert {answer.status_code for answer in refused} == {422}
    assert {answer.json()["code"] for answer in refused} == {"address_refused"}
    assert (await client.get("/v1/agents/mine")).json()["endpoint"] == "http://127.0.0.1:9999"


async def test_seed_bs_registration_makes_and_then_moves_an_agent(
    client: httpx2.AsyncClient,
) -> None:
    body = {"agent_id": "demo_agent", "name": "Demo Agent", "endpoint": "http://localhost:8000"}

    made = await client.post("/v1/agents/register", json=body)
    moved = await client.post(
        "/v1/agents/register", json={**body, "endpoint": "http://localhost:8001"}
    )

    assert made.status_code == 201
    assert made.json()["kind"] == "http"
    assert moved.status_code == 200
    assert moved.json()["endpoint"] == "http://localhost:8001"


async def test_registration_never_turns_an_agent_of_ours_into_a_foreign_one(
    client: httpx2.AsyncClient,
) -> None:
    await client.post("/v1/agents", json=TUTOR)

    answer = await client.post(
        "/v1/agents/register",
        json={"agent_id": "tutor", "name": "T", "endpoint": "http://localhost:1"},
    )

    assert answer.status_code == 409


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"default": "ask"},
        {"rules": [{"tool": "wire", "decision": "block"}]},
        {"approval": {"expires_in_seconds": 5.0, "on_timeout": "escalate", "escalate_to": ["b"]}},
    ],
)
async def test_a_tool_policy_is_kept_as_it_was_given(
    client: httpx2.AsyncClient, policy: dict[str, object]
) -> None:
    made = await client.post("/v1/agents", json={**TUTOR, "tool_policy": policy})
    changed = await client.patch("/v1/agents/tutor", json={"tool_policy": {"default": "block"}})

    assert (made.status_code, made.json()["tool_policy"]) == (201, policy)
    assert changed.json()["tool_policy"] == {"default": "block"}


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"default": "maybe"}, "tool_policy.default"),
        ({"rules": [{"tool": "wire"}]}, "tool_policy.rules.0.decision"),
        ({"rules": "all"}, "tool_policy.rules"),
        ({"defaults": "ask"}, "tool_policy.defaults"),
    ],
)
async def test_a_tool_policy_with_a_mistake_is_refused_by_its_field(
    client: httpx2.AsyncClient, policy: dict[str, object], field: str
) -> None:
    answer = await client.post("/v1/agents", json={**TUTOR, "tool_policy": policy})

    assert answer.status_code == 422
    assert f"body.{field}" in [one["field"] for one in answer.json()["errors"]]


async def test_a_changed_policy_rules_again_on_calls_that_wait(
    world: World, client: httpx2.AsyncClient
) -> None:
    await world.furnish()
    world.keys.by_digest.clear()
    await client.post("/v1/agents", json=TUTOR)
    world.approvals.old = ["ap_01k9"]

    await client.patch("/v1/agents/tutor", json={"tool_policy": {"default": "allow"}})
    for _ in range(10):
        await asyncio.sleep(0)

    assert world.approvals.rows["ap_01k9"].decided_by == "tool policy"
    assert world.gateway.woken == ["run_02k9"]


async def test_a_shared_agent_is_changed_by_the_operator_only(
    world: World, connect: Connect
) -> None:
    app = create_app(world.ports(), fake_config())
    ann = connect(app, world.add_key(Scope.ADMIN, owner="ann"))
    operator = connect(app, world.add_key(Scope.ADMIN))

    refused = [
        (await ann.patch("/v1/agents/assistant", json={"name": "Mine"})).status_code,
        (await ann.delete("/v1/agents/assistant")).status_code,
    ]
    changed = await operator.patch("/v1/agents/assistant", json={"name": "Ours"})

    assert refused == [403, 403]
    assert changed.status_code == 200
    assert (await ann.get("/v1/agents/assistant")).json()["name"] == "Ours"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/agents", {"agent_id": "assistant", "name": "Mine"}),
        (
            "/v1/agents/register",
            {"agent_id": "assistant", "name": "Mine", "endpoint": "http://localhost:1"},
        ),
    ],
)
async def test_only_owners_beside_the_operator_may_stand_before_a_shared_agent(
    world: World, connect: Connect, path: str, body: dict[str, str]
) -> None:
    app = create_app(world.ports(), fake_config(agents_file="/data/agents.toml"))
    ann = connect(app, world.add_key(Scope.ADMIN, owner="ann"))
    operator = connect(app, world.add_key(Scope.ADMIN))

    refused = await operator.post(path, json=body)
    made = await ann.post(path, json=body)

    assert refused.status_code == 409
    assert "/data/agents.toml" in refused.json()["detail"]
    assert made.status_code == 201
    assert (await ann.get("/v1/agents/assistant")).json()["name"] == "Mine"


async def test_an_agent_that_the_file_would_bring_back_is_removed_in_the_file(
    world: World, connect: Connect
) -> None:
    app = create_app(world.ports(), fake_config(agents_file="/data/agents.toml"))

    refused = await connect(app).delete("/v1/agents/assistant")

    assert refused.status_code == 409
    assert "take it out there" in refused.json()["detail"]
    assert "/data/agents.toml" in refused.json()["detail"]


async def test_where_several_processes_have_files_the_operator_removes_what_is_left(
    world: World, client: httpx2.AsyncClient
) -> None:
    assert (await client.delete("/v1/agents/assistant")).status_code == 204


async def test_agents_are_listed_by_id_in_pages(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/agents", json=TUTOR)

    first = (await client.get("/v1/agents?limit=1")).json()
    second = (await client.get(f"/v1/agents?limit=1&cursor={first['next_cursor']}")).json()

    names = [agent["agent_id"] for agent in first["agents"] + second["agents"]]
    assert names == ["assistant", "tutor"]
    assert second["has_more"] is False


@pytest.mark.parametrize(
    ("path", "field"),
    [
        *[("/v1/agents/mine", name) for name in ("name", "models", "limits", "metadata")],
        *[("/v1/sessions/sess_1", name) for name in ("on_busy", "metadata")],
    ],
)
async def test_null_is_refused_where_it_would_change_nothing(
    client: httpx2.AsyncClient, path: str, field: str
) -> None:
    await client.post("/v1/agents", json={"agent_id": "mine", "name": "Mine"})
    await client.post("/v1/sessions", json={"session_id": "sess_1", "agent_id": "mine"})

    answer = await client.patch(path, json={field: None})
    kept = await client.patch(path, json={})

    assert answer.status_code == 422
    assert [item["field"] for item in answer.json()["errors"]] == [f"body.{field}"]
    assert kept.status_code == 200


async def test_null_takes_away_what_may_be_missing(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/agents", json={"agent_id": "mine", "name": "Mine"})
    await client.post("/v1/sessions", json={"session_id": "sess_1", "agent_id": "mine"})

    agent = await client.patch("/v1/agents/mine", json={"endpoint": None})
    session = await client.patch("/v1/sessions/sess_1", json={"agent_id": None})

    assert agent.status_code == session.status_code == 200
    assert session.json()["agent_id"] is None
