"""Probes, version and metrics."""

import asyncio
from collections.abc import Mapping

from fastapi import APIRouter
from starlette.responses import Response

from api.late import LateRoute
from api.ports import Check, nothing_pushed
from api.replies import reply
from api.services import Desk, Reader, Services
from api.shapes.operations import AliveOut, HealthOut, ReadyOut, VersionOut
from domain.errors import OrchestratorError
from domain.push import complaint

router = APIRouter(tags=["operations"], route_class=LateRoute)
_CHECK_SECONDS = 2.0
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/livez", operation_id="get_livez", responses={200: {"model": AliveOut}})
async def get_livez() -> Response:
    """Say that the process answers. Looks at nothing."""
    return reply({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="get_readyz",
    responses={
        200: {"model": ReadyOut},
        503: {"model": ReadyOut, "description": "A check failed; `checks` says which."},
    },
)
async def get_readyz(desk: Desk) -> Response:
    """Say whether work can be taken and done, check by check."""
    checks = await _look(desk)
    ready = all(found is None for found in checks.values())
    return reply({"ready": ready, "checks": _shown(checks)}, 200 if ready else 503)


@router.get("/health", operation_id="get_health", responses={200: {"model": HealthOut}})
async def get_health(desk: Desk) -> Response:
    """Say how the product is. Answers 200 as long as the process can."""
    besides: dict[str, Check] = {"runs": lambda: _stuck(desk)}
    if desk.ports.push_lag is not nothing_pushed:
        besides["ingress"] = lambda: _push(desk)
    checks = await _look(desk, besides)
    degraded = any(checks.values())
    status = "draining" if desk.keeper.is_draining else "degraded" if degraded else "ok"
    uptime = (desk.ports.clock.now_ms() - desk.started_at) / 1000
    return reply(
        {
            "status": status,
            "version": desk.version,
            "uptime_seconds": round(uptime, 3),
            "checks": _shown(checks),
        }
    )


@router.get("/version", operation_id="get_version", responses={200: {"model": VersionOut}})
async def get_version(desk: Desk, _access: Reader) -> Response:
    """Say what runs here."""
    return reply({"name": "durable-orchestrator", "version": desk.version})


@router.get(
    "/metrics",
    operation_id="get_metrics",
    response_class=Response,
    responses={200: {"content": {_METRICS_TYPE: {"schema": {"type": "string"}}}}},
)
async def get_metrics(desk: Desk, _access: Reader) -> Response:
    """Return the metrics in Prometheus' text format."""
    stats = await desk.runs.stats(None)
    slots = await desk.ports.workers.slots()
    stuck = len(await desk.ports.stuck())
    desk.metrics.set_push(await desk.ports.push_lag())
    desk.metrics.set_tools(desk.ports.tool_trouble())
    return Response(desk.metrics.exposition(stats, list(slots), stuck), media_type=_METRICS_TYPE)


async def _stuck(desk: Services) -> str | None:
    """Say how many runs are stuck; which ones is for the log, everybody may ask here."""
    stuck = len(await desk.ports.stuck())
    if not stuck:
        return None
    return f"stuck runs: {stuck}; their workflow tasks keep failing, see the log of the worker"


async def _push(desk: Services) -> str | None:
    """Say when the receiver of events is too far behind."""
    lag = await desk.ports.push_lag()
    return None if lag is None else complaint(lag)


async def _look(
    desk: Services, besides: Mapping[str, Check] | None = None
) -> dict[str, str | None]:
    checks: dict[str, Check] = {
        "engine": desk.ports.intake.gateway.check,
        **desk.ports.checks,
        **(besides or {}),
    }
    found = await asyncio.gather(*(_one(look) for look in checks.values()), return_exceptions=True)
    results = {name: _told(seen) for name, seen in zip(checks, found, strict=True)}
    if desk.keeper.is_draining:
        results["intake"] = "this process is shutting down"
    return results


async def _one(look: Check) -> str | None:
    async with asyncio.timeout(_CHECK_SECONDS):
        return await look()


def _told(seen: str | BaseException | None) -> str | None:
    """Return what a check says; one that fails itself is a failed check, never a failed probe."""
    if isinstance(seen, TimeoutError):
        return f"no answer within {_CHECK_SECONDS:g} s"
    if isinstance(seen, OrchestratorError):
        return seen.message
    if isinstance(seen, BaseException):
        return f"the check failed: {type(seen).__name__}"
    return seen


def _shown(checks: dict[str, str | None]) -> dict[str, dict[str, object]]:
    return {name: {"ok": found is None, "detail": found} for name, found in checks.items()}
