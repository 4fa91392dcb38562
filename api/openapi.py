"""The OpenAPI document: FastAPI's, completed with what holds for every route.

Which errors a route may answer follows from what it takes: a credential, a body, parameters. Their
shape follows from its path.
"""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel

from api.access import is_public
from api.bodies import is_strict
from api.errors import STATUS_TITLES, example, family_of
from api.services import Needs
from api.shapes.faults import OpenAiErrorOut, ProblemOut, SeedErrorOut

_SSE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "One server-sent event; `data` is one line of JSON.",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
}
EVENT_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "schema": _SSE_SCHEMA,
        "example": (
            "retry: 2000\n\nid: 1\nevent: user_input\n"
            'data: {"event_id":"evt_01k9_1","run_id":"run_01k9","seq":1,"ts":1763632800000,'
            '"type":"user_input","data":{"role":"user","content":"What is 6 * 7?",'
            '"message_id":"msg_01k9"},"root_run_id":"run_01k9","parent_run_id":null,"depth":0}\n\n'
        ),
    }
}
AGENT_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "schema": _SSE_SCHEMA,
        "example": (
            'event: delta\ndata: {"text":"42","run_id":"run_02k9"}\n\n'
            'event: done\ndata: {"final_message":"42","usage":{"total_tokens":10},'
            '"run_id":"run_02k9"}\n\n'
        ),
    }
}
LOG_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "schema": _SSE_SCHEMA,
        "example": (
            'event: log\ndata: {"ts":"2026-11-20T10:00:00.000Z","level":"info",'
            '"component":"worker","message":"started","fields":{}}\n\n'
        ),
    }
}
SEED_LOG_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "schema": _SSE_SCHEMA,
        "example": (
            'data: {"time":"10:30:05","level":"info","component":"worker","message":"started"}\n\n'
        ),
    }
}
APPROVAL_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "schema": _SSE_SCHEMA,
        "example": (
            'event: approval_required\ndata: {"approval_id":"ap_01k9","tool_name":"wire",'
            '"args_summary":"wire(to=\\"bob\\")","risk":"high","status":"pending"}\n\n'
        ),
    }
}
REQUEST_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "schema": _SSE_SCHEMA,
        "example": (
            'event: tool_request\ndata: {"tool_call_id":"tc_01k9","tool_name":"read_sensor",'
            '"args":{"sensor":"kitchen"},"effect":"none","status":"waiting"}\n\n'
        ),
    }
}
CHUNK_STREAM: dict[str, Any] = {
    "text/event-stream": {
        "schema": {"type": "object", "description": "Chunks as OpenAI streams them."},
        "example": (
            'data: {"id":"chatcmpl-01k9","object":"chat.completion.chunk","created":1763632800,'
            '"model":"offline/assistant","choices":[{"index":0,"delta":{"content":"42"},'
            '"finish_reason":null}]}\n\ndata: [DONE]\n\n'
        ),
    }
}
TAGS = [
    {"name": "runs", "description": "Pieces of work: start, look at, cancel, fork, retry."},
    {"name": "events", "description": "What happened in a run, as a list or as a stream."},
    {"name": "sessions", "description": "Conversations and their transcripts."},
    {"name": "agents", "description": "Who can do a run."},
    {"name": "tools", "description": "Functions that agents, or you, may call."},
    {"name": "tool hosts", "description": "Tools that clients run, and what they are asked."},
    {"name": "learning", "description": "How runs were routed, and what people say of them."},
    {"name": "goals", "description": "What work is done for, with limits and a daily budget."},
    {"name": "budgets", "description": "How much may be spent on what."},
    {"name": "costs", "description": "What model calls did cost."},
    {"name": "schedules", "description": "Runs that start by the clock."},
    {"name": "approvals", "description": "Tool calls that a person has to approve first."},
    {"name": "dead letters", "description": "Runs that were given up on."},
    {"name": "chat completions", "description": "Models and agents, as OpenAI's clients ask."},
    {"name": "models", "description": "Language models that may be named."},
    {"name": "keys", "description": "API keys and their scopes."},
    {"name": "operations", "description": "Probes, metrics and the log."},
    {"name": "seed A", "description": "Paths of the agent framework this product came from."},
    {"name": "seed B", "description": "Paths of the agent platform this product came from."},
    {"name": "seed C", "description": "Paths of the worker pool this product came from."},
]
_DESCRIPTION = (
    "A durable agent orchestrator: agents, tools and people in Temporal workflows that survive any"
    " crash. Errors of native paths are RFC 9457 problems with a stable `code`."
)
_SHAPES: dict[str, tuple[str, type[BaseModel]]] = {
    "native": ("application/problem+json", ProblemOut),
    "openai": ("application/json", OpenAiErrorOut),
    "seed": ("application/json", SeedErrorOut),
}


def one_of(model: type[BaseModel], media: dict[str, Any], description: str) -> dict[str, Any]:
    """Return a response that is `model` as JSON, or one of another media type."""
    return {"model": model, "content": media, "description": description}


def created(model: type[BaseModel]) -> dict[str, Any]:
    """Return a response that says where the new thing is."""
    location = {"description": "Where it is.", "schema": {"type": "string"}}
    return {"model": model, "description": "Made.", "headers": {"Location": location}}


_BEFORE_ANY_PATH = frozenset({431})
"""Answers to what is refused before its path is looked at: they have one shape everywhere."""


def install(app: FastAPI) -> None:
    """Make `app.openapi()` return the completed document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="Durable agent orchestrator",
        version=app.version,
        description=_DESCRIPTION,
        routes=app.routes,
        tags=TAGS,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for _, model in _SHAPES.values():
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas.update(schema.pop("$defs", {}))
        schemas[model.__name__] = schema
    document["components"]["responses"] = _errors()
    document["components"]["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, `orch_...`."}
    }
    for route in app.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _complete(document["paths"][route.path_format][method.lower()], route)
    return document


def _complete(operation: dict[str, Any], route: APIRoute) -> None:
    scope = scope_of(route)
    if scope is not None:
        operation["security"] = [{"key": []}]
        operation["x-required-scope"] = scope
    responses = operation["responses"]
    for status in {*_statuses(operation, route), *_declared(responses)}:
        if "model" not in route.responses.get(status, {}):
            family = "native" if status in _BEFORE_ANY_PATH else family_of(route.path)
            name = f"{family}{status}"
            responses[str(status)] = {"$ref": f"#/components/responses/{name}"}
    operation["responses"] = dict(sorted(responses.items()))


def scope_of(route: APIRoute) -> str | None:
    """Return the scope that a route requires."""
    calls = (dependency.call for dependency in route.dependant.dependencies)
    return next((call.scope.value for call in calls if isinstance(call, Needs)), None)


def _declared(responses: dict[str, Any]) -> set[int]:
    return {int(code) for code in responses if code.isdigit() and int(code) >= 400}


def _statuses(operation: dict[str, Any], route: APIRoute) -> set[int]:
    found = {421, 429, 431, 500}
    if not is_public(route.path):
        found |= {400, 401, 403, 503, 507}
    if operation.get("parameters") or is_strict(route.path):
        found.add(422)
    if route.body_field is not None:
        found |= {408, 413, 415, 422}
    return found


def _errors() -> dict[str, Any]:
    """Return the answer to every failure, in each of the shapes."""
    found: dict[str, Any] = {}
    for family, (media, model) in _SHAPES.items():
        schema = {"$ref": f"#/components/schemas/{model.__name__}"}
        for status, title in STATUS_TITLES.items():
            found[f"{family}{status}"] = {
                "description": title,
                "content": {media: {"schema": schema, "example": example(family, status)}},
            }
    return found
