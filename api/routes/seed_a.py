"""Seed A's paths about the place as a whole: status, models, costs, dashboard, the log."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

from fastapi import APIRouter
from pydantic_core import to_json
from starlette.responses import Response

from api.access import Access
from api.bodies import JsonRoute
from api.openapi import SEED_LOG_STREAM
from api.ports import LogLine
from api.replies import reply
from api.seed_a_views import (
    clock_of,
    dollars,
    log_view,
    seed_costs_view,
    seed_model_view,
    totals_view,
)
from api.services import Desk, Operator, Reader, Services
from api.shapes.seed_a import SeedCosts, SeedDashboardOut, SeedModelList, SeedStatusOut
from api.sse import EventStream
from api.views import View, iso
from domain.acceptance import Page
from domain.agent import Agent
from domain.costs import CostBy, CostFilter, CostReport
from domain.pricing import priced

router = APIRouter(tags=["seed A"], route_class=JsonRoute)
MOST = 1000
"""Agents, and models with costs, that are looked at."""


@router.get("/api/status", operation_id="seed_status", responses={200: {"model": SeedStatusOut}})
async def get_status(desk: Desk, access: Reader) -> Response:
    """Return how the place is, and what your calls cost so far."""
    report = await costs_by(desk, access, CostBy.MODEL)
    return reply(await _status(desk, access, report))


@router.get(
    "/api/dashboard",
    operation_id="seed_dashboard",
    responses={200: {"model": SeedDashboardOut}},
)
async def get_dashboard(desk: Desk, access: Reader) -> Response:
    """Return the status with sums over all that your agents did."""
    report = await costs_by(desk, access, CostBy.MODEL)
    figures = await desk.ports.figures.agents(access.who.owner)
    return reply(
        {
            **await _status(desk, access, report),
            "evolving_agents": 0,
            **totals_view(figures, report.total),
            "timestamp": iso(desk.ports.clock.now_ms()),
        }
    )


@router.get("/api/models", operation_id="seed_models", responses={200: {"model": SeedModelList}})
async def get_models(desk: Desk, _access: Reader) -> Response:
    """List the models that may be named."""
    known = desk.ports.intake.models.models()
    found = priced(known, await desk.ports.prices.list_prices())
    return reply([seed_model_view(info) for info in found])


@router.get("/api/costs", operation_id="seed_costs", responses={200: {"model": SeedCosts}})
async def get_costs(desk: Desk, access: Reader) -> Response:
    """Return what each model cost you so far; `/v1/costs` says it by more."""
    return reply(seed_costs_view((await costs_by(desk, access, CostBy.MODEL)).lines))


@router.get(
    "/api/logs/stream",
    operation_id="seed_logs",
    response_class=Response,
    responses={200: {"content": SEED_LOG_STREAM, "description": "One event per line."}},
)
async def stream_logs(desk: Desk, access: Operator) -> Response:
    """Follow the log of this process, with a beat every five seconds. For the operator only."""
    desk.keeper.admit(access)
    lines = desk.ports.logs.subscribe()
    return EventStream(desk.keeper, frames(desk, access, lines), access)


async def costs_by(
    desk: Services, access: Access, by: CostBy, agent_id: str | None = None
) -> CostReport:
    """Return what the caller's calls cost so far."""
    which, page = CostFilter(agent_id=agent_id), Page(limit=MOST)
    return await desk.ports.costs.costs(access.who.owner, by, which, page)


async def agents_of(desk: Services, access: Access) -> list[Agent]:
    """Return the agents that the caller sees, by id."""
    agents, _ = await desk.directory.list_agents(access.who.owner, Page(limit=MOST))
    return list(agents)


async def _status(desk: Services, access: Access, report: CostReport) -> View:
    memory = await desk.ports.figures.memory(access.who.owner)
    return {
        "version": desk.version,
        "uptime": (desk.ports.clock.now_ms() - desk.started_at) * 1_000_000,
        "agents": len(await agents_of(desk, access)),
        "models": len(desk.ports.intake.models.models()),
        "memory": {"total_entries": memory.messages, "total_tokens": memory.tokens},
        "total_cost": dollars(report.total),
    }


async def frames(
    desk: Services, access: Access, lines: AsyncIterator[LogLine]
) -> AsyncGenerator[bytes, None]:
    """Yield a frame per line, and one per beat; the log goes on while nobody says anything."""
    following = asyncio.ensure_future(anext(lines))
    now = asyncio.get_running_loop().time
    seconds = desk.config.stream.beat_seconds
    beat_at = now() + seconds
    try:
        while True:
            await asyncio.wait({following}, timeout=max(0.0, beat_at - now()))
            if following.done():
                try:
                    line = following.result()
                except StopAsyncIteration:
                    return
                yield _frame(log_view(line))
                following = asyncio.ensure_future(anext(lines))
            if now() >= beat_at:
                beat_at = now() + seconds
                yield _frame(await _beat(desk, access))
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            await following


async def _beat(desk: Services, access: Access) -> View:
    count = len(await agents_of(desk, access))
    return {
        "time": clock_of(desk.ports.clock.now_ms()),
        "level": "info",
        "component": "system",
        "message": f"heartbeat: {count} agents online",
    }


def _frame(view: View) -> bytes:
    return b"data: " + to_json(view, serialize_unknown=True) + b"\n\n"
