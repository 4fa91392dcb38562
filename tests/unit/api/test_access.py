"""Who asks, and what they may do (attacks 2 to 7, 25)."""

from fastapi.routing import APIRoute
from starlette.routing import Route

from api.access import is_public
from api.app import create_app
from api.openapi import scope_of
from domain.principal import Scope
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
