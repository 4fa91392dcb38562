"""Seed C's pool: its requests are tool runs, its agents are the slots of our workers."""

import asyncio
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.requests import Request
from starlette.responses import Response

from api.access import Access
from api.bodies import JsonRoute
from api.params import IdempotencyHeader
from api.replies import reply
from api.requests import PoolRequestBody
from api.services import Desk, Invoker, Reader, Services
from api.shapes.seeds import PoolAnswerOut, PoolStatsOut, PoolToolList, SlotList, SlotOut
from api.starting import claim, replay_headers
from api.tool_calls import invoke, outcome_view
from api.views import View, slot_view, tool_view
from domain.auth import sees_every_owner
from domain.errors import NotFoundError
from domain.intake import InvokeTool
from domain.stats import RunStats

router = APIRouter(tags=["seed C"], route_class=JsonRoute)
SlotId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@/-]{0,200}$")]


@router.post(
    "/api/v1/request",
    operation_id="request_tool",
    responses={200: {"model": PoolAnswerOut}, 404: {}, 409: {}},
)
async def request_tool(
    desk: Desk,
    access: Invoker,
    request: Request,
    body: PoolRequestBody,
    idempotency_key: IdempotencyHeader = None,
) -> Response:
    """Use a tool and wait for the result. 503 with Retry-After when too much is in flight."""
    now = asyncio.get_running_loop().time
    began = now()
    key = claim("request_tool", access, None, idempotency_key, body)
    ask = InvokeTool(name=body.tool_name, args=body.params, idempotency=key)
    run, call, replayed = await invoke(desk, access, ask)
    request.scope["run_id"] = run.run_id
    outcome = outcome_view(run, call)
    error = outcome.get("error")
    return reply(
        {
            "request_id": run.run_id,
            "tool_call_id": call.tool_call_id,
            "tool_name": body.tool_name,
            "success": outcome["status"] == "succeeded",
            "result": outcome.get("result"),
            "error": error["message"] if error else outcome.get("reason"),
            "duration_ms": round((now() - began) * 1000),
        },
        200,
        replay_headers(replayed),
    )


@router.get("/api/v1/agents", operation_id="list_slots", responses={200: {"model": SlotList}})
async def list_slots(desk: Desk, access: Reader) -> Response:
    """List the pool: every place where a step can run, and what it does."""
    slots = await _slots(desk, access)
    return reply({"agents": slots, "count": len(slots)})


@router.get(
    "/api/v1/agents/{slot_id:path}",
    operation_id="get_slot",
    responses={200: {"model": SlotOut}, 404: {}},
)
async def get_slot(desk: Desk, access: Reader, slot_id: SlotId) -> Response:
    """Return one place of the pool."""
    for slot in await _slots(desk, access):
        if slot["id"] == slot_id:
            return reply(slot)
    raise NotFoundError(f"there is no agent {slot_id} in the pool")


@router.get(
    "/api/v1/tools", operation_id="list_pool_tools", responses={200: {"model": PoolToolList}}
)
async def list_pool_tools(desk: Desk, _access: Reader) -> Response:
    """List the tools."""
    tools = [tool_view(spec) for spec in desk.ports.intake.toolbox.specs()]
    return reply({"tools": tools, "count": len(tools)})


@router.get(
    "/api/v1/stats", operation_id="get_pool_stats", responses={200: {"model": PoolStatsOut}}
)
async def get_pool_stats(desk: Desk, access: Reader) -> Response:
    """Return figures of the pool and of your runs."""
    stats = await desk.runs.stats(access.who.owner)
    slots = await _slots(desk, access)
    return reply({**_figures(stats), **_pool(slots, desk.config.intake.max_open_runs)})


def _figures(stats: RunStats) -> View:
    states = stats.by_state
    return {
        "total_requests": stats.total,
        "successful_requests": stats.succeeded,
        "failed_requests": stats.failed,
        "cancelled_requests": states.get("CANCELLED", 0),
        "active_requests": states.get("CREATED", 0) + states.get("RUNNING", 0),
        "success_rate": stats.success_rate,
        "average_processing_ms": stats.average_ms,
        "p50_processing_ms": stats.p50_ms,
        "p95_processing_ms": stats.p95_ms,
        "wait_p95_ms": stats.wait_p95_ms,
    }


def _pool(slots: Sequence[View], capacity: int) -> View:
    busy = sum(1 for slot in slots if slot["state"] == "busy")
    used = sum(slot["utilization"] for slot in slots)
    return {
        "queue_capacity": capacity,
        "total_agents": len(slots),
        "idle_agents": len(slots) - busy,
        "busy_agents": busy,
        "agent_utilization": round(used / len(slots), 4) if slots else 0.0,
        "agents": slots,
    }


async def _slots(desk: Services, access: Access) -> list[View]:
    """Return every slot; what it does only where that is the caller's to see."""
    now = desk.ports.clock.now_ms()
    views = [slot_view(slot, now) for slot in await desk.ports.workers.slots()]
    if not sees_every_owner(access.who):
        for view in views:
            view["current_step"] = await _own_step(desk, access, view["current_step"])
    return views


async def _own_step(desk: Services, access: Access, step: str | None) -> str | None:
    """Return `<run id>:<step id>` if the run is of the caller's owner."""
    if step is None:
        return None
    try:
        await desk.runs.get_run(access.who.owner, step.partition(":")[0])
    except NotFoundError:
        return None
    return step
