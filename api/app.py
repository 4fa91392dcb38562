"""The HTTP application: which parts it has, and in which order a request meets them."""

from importlib import metadata
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from api import failures, openapi
from api.access import Authenticator
from api.background import Background, Promptly
from api.completions import answering
from api.edge import Edge
from api.guards import AccessGuard, BodyGuard, DrainGuard, HostGuard
from api.methods import Heads
from api.metrics import Metrics
from api.ports import ApiConfig, ApiPorts
from api.routes import (
    agents,
    approvals,
    budgets,
    client_calls,
    completions,
    costs,
    deadletters,
    events,
    external_agents,
    forks,
    goals,
    health,
    keys,
    learning,
    logs,
    models,
    pages,
    preferences,
    prices,
    runs,
    schedules,
    seed_a,
    seed_a_agents,
    seed_b,
    seed_c,
    sessions,
    tool_hosts,
    tools,
)
from api.services import Services
from api.sse import StreamKeeper
from domain.budgeting import Budgeting
from domain.clients import Dispatching
from domain.deciding import Deciding
from domain.fork import Forking
from domain.intake import Intake
from domain.scheduling import Scheduling

_ROUTES = (
    *(completions, runs, events, seed_b, tools, approvals, sessions, external_agents, agents),
    *(models, health, keys, logs),
    *(schedules, client_calls, tool_hosts, forks, deadletters, goals, budgets, seed_c, pages),
    *(prices, costs, learning, preferences, seed_a, seed_a_agents),
)
"""In the order in which paths are tried: the busiest first."""
_CORS_METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")
_CORS_HEADERS = (
    *("authorization", "content-type", "idempotency-key", "last-event-id"),
    *("x-run-id", "x-session-id", "x-stream"),
)
_CORS_EXPOSED = (
    *("location", "x-request-id", "idempotency-replayed", "retry-after"),
    *("x-run-id", "x-session-id", "x-model", "x-fallback-from"),
)


def create_app(ports: ApiPorts, config: ApiConfig) -> FastAPI:
    """Return the application over `ports`. It needs no start-up; end it with `drain`."""
    app = _bare()
    services = _services(ports, config)
    app.state.services = services
    failures.install(app)
    _guard(app, services)
    return app


def describe() -> dict[str, Any]:
    """Return the OpenAPI document, which does not depend on any port."""
    return _bare().openapi()


def _bare() -> FastAPI:
    app = FastAPI(
        title="Durable agent orchestrator",
        version=_version(),
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for module in _ROUTES:
        # Not include_router: through an included router every request is matched twice.
        app.router.routes.extend(module.router.routes)
    openapi.install(app)
    return app


async def drain(app: FastAPI, seconds: float) -> None:
    """Take no more work, end the streams with a notice, and let what is behind answers finish."""
    services = app.state.services
    assert isinstance(services, Services)
    await services.keeper.drain(seconds)
    await services.background.settle(seconds)


def _services(ports: ApiPorts, config: ApiConfig) -> Services:
    metrics = Metrics()
    background = Background()
    authenticator = Authenticator(ports.keys, ports.clock, config)
    intake = Intake(ports.intake, config.intake, background.spawn)
    gateway = ports.intake.gateway
    keeper = StreamKeeper(config.stream, authenticator, metrics)
    return Services(
        ports=ports,
        config=config,
        intake=intake,
        forking=Forking(
            ports.intake, ports.forks, ports.dead_letters, config.intake, background.spawn
        ),
        budgeting=Budgeting(
            ports.budgets, ports.goals, intake, ports.prices, gateway, background.spawn
        ),
        deciding=Deciding(ports.approvals, gateway, background.spawn),
        dispatching=Dispatching(ports.clients, gateway, background.spawn),
        scheduling=Scheduling(ports.schedules, ports.scheduler, Promptly(background, "schedule")),
        completions=answering.build(ports, config, keeper, background),
        authenticator=authenticator,
        keeper=keeper,
        background=background,
        metrics=metrics,
        version=_version(),
        started_at=ports.clock.now_ms(),
    )


def _guard(app: FastAPI, services: Services) -> None:
    """Put the guards around the app, the innermost first."""
    config, keeper = services.config, services.keeper
    app.add_middleware(Heads)
    app.add_middleware(BodyGuard, config.max_body_bytes, config.body_seconds)
    app.add_middleware(AccessGuard, services.authenticator, config.rate)
    app.add_middleware(DrainGuard, lambda: keeper.is_draining)
    if config.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=sorted(config.allowed_origins),
            allow_methods=_CORS_METHODS,
            allow_headers=_CORS_HEADERS,
            expose_headers=_CORS_EXPOSED,
        )
    app.add_middleware(HostGuard, config)
    app.add_middleware(Edge, services.ports.intake.ids, services.metrics)


def _version() -> str:
    try:
        return metadata.version("durable-orchestrator")
    except metadata.PackageNotFoundError:
        return "0"
