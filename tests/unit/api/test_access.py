"""Who asks, and what they may do (attacks 2 to 7, 25)."""

import httpx2
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from api.access import bearer_of, is_public
from api.app import create_app
from api.errors import RefusedError
from api.openapi import scope_of
from api.ports import RateConfig
from domain.errors import UnauthorizedError
from domain.principal import Scope
from tests.fakes.clock import NOW
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect

PUBLIC = {"/", "/health", "/livez", "/readyz", "/static/{name}"}
SCOPES = {
    "start_run": "invoke",
    "list_runs": "read",
    "get_run": "read",
    "list_children": "read",
    "cancel_run": "invoke",
    "list_events": "read",
    "invoke_agent": "invoke",
    "list_tools": "read",
    "get_tool": "read",
    "invoke_tool": "invoke",
    "list_tool_calls": "read",
    "get_tool_call": "read",
    "resolve_tool_call": "approve",
    "claim_tool_call": "invoke",
    "submit_tool_call": "invoke",
    "wait_tool_call": "read",
    "list_tool_hosts": "read",
    "get_tool_host": "read",
    "put_tool_host": "invoke",
    "delete_tool_host": "invoke",
    "beat_tool_host": "invoke",
    "poll_tool_host": "invoke",
    "list_tool_requests": "invoke",
    "seed_register_tools": "invoke",
    "seed_submit_tool_call": "invoke",
    "list_approvals": "read",
    "get_approval": "read",
    "decide_approval": "approve",
    "fork_run": "invoke",
    "retry_run": "invoke",
    "list_dead_letters": "read",
    "get_dead_letter": "read",
    "redrive_dead_letter": "invoke",
    "discard_dead_letter": "invoke",
    "create_schedule": "invoke",
    "list_schedules": "read",
    "get_schedule": "read",
    "change_schedule": "invoke",
    "delete_schedule": "invoke",
    "pause_schedule": "invoke",
    "resume_schedule": "invoke",
    "trigger_schedule": "invoke",
    "backfill_schedule": "invoke",
    "list_firings": "read",
    "create_session": "invoke",
    "list_sessions": "read",
    "get_session": "read",
    "update_session": "invoke",
    "delete_session": "invoke",
    "list_messages": "read",
    "clear_messages": "invoke",
    "create_agent": "admin",
    "register_agent": "admin",
    "issue_agent_token": "admin",
    "beat_agent": "admin",
    "get_agent_card": "read",
    "ask_agent": "invoke",
    "list_agents": "read",
    "get_agent": "read",
    "update_agent": "admin",
    "delete_agent": "admin",
    "create_chat_completion": "proxy",
    "list_models": "read",
    "set_price": "admin",
    "delete_price": "admin",
    "get_costs": "read",
    "create_budget": "admin",
    "list_budgets": "read",
    "get_budget": "read",
    "update_budget": "admin",
    "delete_budget": "admin",
    "create_goal": "invoke",
    "get_route": "read",
    "give_feedback": "invoke",
    "list_feedback": "read",
    "pin_agent": "invoke",
    "get_pin": "read",
    "unpin_agent": "invoke",
    "list_goals": "read",
    "get_goal": "read",
    "update_goal": "invoke",
    "delete_goal": "invoke",
    "get_version": "read",
    "get_metrics": "read",
    "create_key": "admin",
    "list_keys": "admin",
    "revoke_key": "admin",
    "stream_logs": "admin",
    "request_tool": "invoke",
    "list_slots": "read",
    "get_slot": "read",
    "list_pool_tools": "read",
    "get_pool_stats": "read",
    "seed_invoke_tool": "invoke",
    "seed_status": "read",
    "seed_dashboard": "read",
    "seed_models": "read",
    "seed_costs": "read",
    "seed_logs": "admin",
    "seed_list_agents": "read",
    "seed_get_agent": "read",
    "seed_get_metrics": "read",
    "seed_get_memory": "read",
    "seed_clear_memory": "invoke",
    "seed_chat": "invoke",
    "get_docs": "read",
}
"""What each route requires: a new one is added here with its scope, or is public by intent."""


def _routes(world: World) -> list[Route]:
    app = create_app(world.ports(), fake_config())
    found = [route for route in app.routes if isinstance(route, Route)]
    assert len(found) == len(app.routes)
    return found


def _target(route: Route) -> str:
    return route.path.replace("{name}", "calculator").replace("{slot_id:path}", "x")


def test_every_route_requires_a_scope_but_the_public_ones(world: World) -> None:
    routes = [route for route in _routes(world) if isinstance(route, APIRoute)]
    found = {route.operation_id or route.name: scope_of(route) for route in routes}

    named = {name: scope for name, scope in found.items() if scope is not None}
    open_to_all = {route.path for route in routes if scope_of(route) is None}
    assert named == SCOPES
    assert open_to_all == PUBLIC


async def test_every_route_but_the_public_ones_answers_401_without_a_key(
    world: World, connect: Connect
) -> None:
    """Attack 2: the streams, the metrics, the documentation and the OpenAPI document, too."""
    world.add_key(Scope.ADMIN)
    client = connect(create_app(world.ports(), fake_config()))
    tried = 0

    for route in _routes(world):
        for method in route.methods or ():
            for accept in ("application/json", "text/event-stream"):
                answer = await client.request(
                    method, _target(route), headers={"accept": accept}, json={}
                )
                if route.path in PUBLIC:
                    assert answer.status_code != 401, route.path
                else:
                    assert answer.status_code == 401, route.path
                    assert answer.headers["www-authenticate"].startswith("Bearer")
                tried += 1
    unknown = await client.get("/nowhere")

    assert tried > 80
    assert unknown.status_code == 401


async def test_a_key_does_what_its_scopes_allow_and_nothing_else(
    world: World, connect: Connect
) -> None:
    """Attack 4: route by route, scope by scope."""
    app = create_app(world.ports(), fake_config())
    clients = {scope: connect(app, world.add_key(scope)) for scope in Scope}
    routes = [route for route in _routes(world) if isinstance(route, APIRoute)]

    for route in routes:
        required = scope_of(route)
        for scope, client in clients.items():
            if required is None or route.path == "/v1/logs/stream":
                continue
            method = next(iter(route.methods or ()))
            answer = await client.request(method, _target(route), json={})
            allowed = scope in {Scope.ADMIN, Scope(required)}
            assert (answer.status_code != 403) == allowed, (route.path, scope)


def test_public_paths_are_the_probes_and_static_files() -> None:
    assert is_public("/static/docs.js")
    assert not is_public("/static")
    assert not is_public("/docs")
    assert not is_public("/openapi.json")
    assert not is_public("/livez/")


@pytest.mark.parametrize(
    "secret",
    ["", "x", "orch_short", "orch_" + "A" * 43, "orch_" + "A" * 44, "\x00", "orch_" + "é" * 43],
)
async def test_a_key_nobody_made_is_refused(world: World, connect: Connect, secret: str) -> None:
    world.add_key(Scope.ADMIN)
    client = connect(create_app(world.ports(), fake_config()))

    answer = await client.get("/v1/runs", headers=[(b"authorization", f"Bearer {secret}".encode())])

    assert answer.status_code == 401
    assert secret not in answer.text or not secret


async def test_a_key_with_a_known_prefix_is_still_refused(world: World, connect: Connect) -> None:
    real = world.add_key(Scope.ADMIN)
    client = connect(create_app(world.ports(), fake_config()), real[:-1] + "_")

    assert (await client.get("/v1/runs")).status_code == 401


def _key_with(world: World, field: str) -> str:
    if field == "revoked_at":
        return world.add_key(Scope.READ, revoked_at=NOW - 1)
    return world.add_key(Scope.READ, expires_at=NOW - 1)


@pytest.mark.parametrize("field", ["revoked_at", "expires_at"])
async def test_a_revoked_or_expired_key_is_refused(
    world: World, connect: Connect, field: str
) -> None:
    world.add_key(Scope.ADMIN)
    client = connect(create_app(world.ports(), fake_config()), _key_with(world, field))

    assert (await client.get("/v1/runs")).status_code == 401


async def test_a_key_that_expires_while_it_is_remembered_is_refused(
    world: World, connect: Connect
) -> None:
    app = create_app(world.ports(), fake_config())
    client = connect(app, world.add_key(Scope.READ, expires_at=NOW + 1000))
    before = await client.get("/v1/runs")

    world.clock.now += 1000
    after = await client.get("/v1/runs")

    assert (before.status_code, after.status_code) == (200, 401)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ([("authorization", "Bearer {key}"), ("authorization", "Bearer other")], ""),
        ([("authorization", "Bearer {key}"), ("x-api-key", "other")], ""),
        ([("x-api-key", "{key}")], ""),
        ([("api-key", "{key}")], ""),
        ([("authorization", "Bearer {key}")], "?api_key=x"),
        ([], "?access_token={key}"),
        ([], "?Token={key}"),
    ],
)
async def test_a_credential_in_two_places_or_in_another_is_refused(
    world: World, connect: Connect, headers: list[tuple[str, str]], query: str
) -> None:
    """Attack 5: one extractor."""
    key = world.add_key(Scope.ADMIN)
    client = connect(create_app(world.ports(), fake_config()))
    sent = [(name, value.format(key=key)) for name, value in headers]

    answer = await client.get("/v1/runs" + query.format(key=key), headers=sent)

    assert answer.status_code == 400
    assert answer.json()["code"] == "conflicting_credentials"


def test_only_a_bearer_token_is_read() -> None:
    assert bearer_of([(b"authorization", b"bearer  orch_x ")], b"") == "orch_x"
    assert bearer_of([], b"limit=1") is None
    with pytest.raises(UnauthorizedError):
        bearer_of([(b"authorization", b"Basic abc")], b"")
    with pytest.raises(RefusedError):
        bearer_of([(b"x-api-key", b"")], b"")


async def test_without_any_key_loopback_is_open_and_another_address_is_not(
    world: World, connect: Connect
) -> None:
    """Attack 1, as far as the API itself decides."""
    open_app = create_app(world.ports(), fake_config(open_without_keys=True))
    closed = create_app(world.ports(), fake_config(open_without_keys=False))

    assert (await connect(open_app).get("/v1/runs")).status_code == 200
    assert (await connect(closed).get("/v1/runs")).status_code == 401


async def test_the_first_key_closes_the_door_for_everybody_without_one(
    client: httpx2.AsyncClient,
) -> None:
    before = await client.get("/v1/keys")
    made = await client.post("/v1/keys", json={"name": "me", "scopes": ["admin"]})
    after = await client.get("/v1/keys")
    headers = {"authorization": f"Bearer {made.json()['key']}"}
    with_key = await client.get("/v1/keys", headers=headers)

    assert [answer.status_code for answer in (before, made, after, with_key)] == [
        200,
        201,
        401,
        200,
    ]


async def test_guessing_keys_is_slowed_down(world: World, connect: Connect) -> None:
    """Attack 25: by address; the key that is there goes on working."""
    rate = RateConfig(failures_per_second=0.1, failures_burst=3)
    app = create_app(world.ports(), fake_config(rate=rate))
    real = connect(app, world.add_key(Scope.READ))
    guesser = connect(app, "orch_" + "A" * 43)

    statuses = [(await guesser.get("/v1/runs")).status_code for _ in range(5)]

    assert statuses == [401, 401, 401, 429, 429]
    assert (await real.get("/v1/runs")).status_code == 200


async def test_a_key_is_looked_up_once_a_moment_not_once_a_request(
    world: World, connect: Connect
) -> None:
    client = connect(create_app(world.ports(), fake_config()), world.add_key(Scope.READ))

    for _ in range(5):
        await client.get("/v1/runs")

    assert world.keys.lookups == 1


async def test_a_key_revoked_by_another_process_is_refused_when_the_moment_is_over(
    world: World, connect: Connect
) -> None:
    config = fake_config(key_cache_seconds=0.0, open_without_keys=False)
    app = create_app(world.ports(), config)
    client = connect(app, world.add_key(Scope.READ))
    before = await client.get("/v1/runs")

    ((digest, key),) = world.keys.by_digest.items()
    world.keys.by_digest[digest] = key.model_copy(update={"revoked_at": NOW})
    after = await client.get("/v1/runs")

    assert (before.status_code, after.status_code) == (200, 401)


async def test_what_belongs_to_another_owner_is_not_found(world: World, connect: Connect) -> None:
    """Attack 6: every route that takes an id, replays included; 404, never 403."""
    app = create_app(world.ports(), fake_config())
    everything = (Scope.READ, Scope.INVOKE, Scope.APPROVE, Scope.ADMIN)
    ann = connect(app, world.add_key(*everything, owner="ann"))
    bob = connect(app, world.add_key(*everything, owner="bob"))
    run = (await ann.post("/v1/runs?wait=5", json={"input": "x", "session_id": "s1"})).json()
    await ann.post("/v1/agents", json={"agent_id": "anns", "name": "Ann's"})
    call = (await ann.post("/v1/tools/wire/invoke", json={})).json()
    key_id = (await ann.get("/v1/keys")).json()["keys"][0]["key_id"]
    run_path, call_path = f"/v1/runs/{run['run_id']}", f"/v1/tool_calls/{call['tool_call_id']}"
    routes: list[tuple[str, str, object]] = [
        ("GET", run_path, None),
        ("POST", f"{run_path}/cancel", None),
        ("GET", f"{run_path}/events", None),
        ("GET", "/v1/sessions/s1", None),
        ("PATCH", "/v1/sessions/s1", {"metadata": {}}),
        ("DELETE", "/v1/sessions/s1", None),
        ("GET", "/v1/sessions/s1/messages", None),
        ("DELETE", "/v1/sessions/s1/messages", None),
        ("GET", "/v1/agents/anns", None),
        ("PATCH", "/v1/agents/anns", {"name": "Mine"}),
        ("DELETE", "/v1/agents/anns", None),
        ("POST", "/v1/runs", {"input": "x", "agent_id": "anns"}),
        ("GET", call_path, None),
        ("POST", f"{call_path}/resolve", {"outcome": "happened"}),
        ("POST", "/v1/tools/calculator/invoke", {"run_id": call["run_id"]}),
        ("DELETE", f"/v1/keys/{key_id}", None),
    ]

    for method, path, body in routes:
        answer = await bob.request(method, path, json=body)
        assert answer.status_code == 404, (method, path, answer.text)
    stream = await bob.get(
        f"{run_path}/events", headers={"accept": "text/event-stream", "last-event-id": "1"}
    )
    lists = [(await bob.get(f"/v1/{name}")).json()[name] for name in ("runs", "tool_calls")]

    assert stream.status_code == 404
    assert lists == [[], []]
    assert (await bob.get("/v1/agents")).json()["agents"][0]["agent_id"] == "assistant"
    assert len((await bob.get("/v1/agents")).json()["agents"]) == 1
    assert (await ann.get(run_path)).status_code == 200


async def test_two_owners_may_each_have_a_session_of_the_same_name(
    world: World, connect: Connect
) -> None:
    app = create_app(world.ports(), fake_config())
    everything = (Scope.READ, Scope.INVOKE)
    ann = connect(app, world.add_key(*everything, owner="ann"))
    bob = connect(app, world.add_key(*everything, owner="bob"))

    await ann.post("/v1/runs?wait=5", json={"input": "secret", "session_id": "main"})
    await bob.post("/v1/runs?wait=5", json={"input": "hello", "session_id": "main"})
    seen = (await bob.get("/v1/sessions/main/messages")).json()["messages"]

    assert [message["content"] for message in seen] == ["hello"]


async def test_the_keys_remembered_are_bounded(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.access._REMEMBERED", 2)
    app = create_app(world.ports(), fake_config())
    secrets = [world.add_key(Scope.READ) for _ in range(3)]
    for secret in [*secrets, *secrets]:
        assert (await connect(app, secret).get("/v1/runs")).status_code == 200

    assert len(app.state.services.authenticator._known) == 2
