"""The product's own log, as it happens."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic_core import to_json
from starlette.responses import Response

from api.bodies import JsonRoute
from api.openapi import LOG_STREAM
from api.ports import LogLine
from api.services import Desk, Operator
from api.sse import EventStream
from api.views import iso

router = APIRouter(tags=["operations"], route_class=JsonRoute)
Level = Literal["debug", "info", "warning", "error", "critical"]
_RANK = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 4}


@router.get(
    "/v1/logs/stream",
    operation_id="stream_logs",
    response_class=Response,
    responses={200: {"content": LOG_STREAM, "description": "One event per line."}},
)
async def stream_logs(
    desk: Desk,
    access: Operator,
    level: Annotated[Level, Query(description="Least severe level shown.")] = "info",
) -> Response:
    """Follow the log of this process. Lines that a slow reader could not take are missing.

    They tell of every owner's runs: only the operator, with the local owner's `admin`, may read
    them.
    """
    desk.keeper.admit(access)
    lines = desk.ports.logs.subscribe()
    return EventStream(desk.keeper, _frames(lines, _RANK[level]), access)


async def _frames(lines: AsyncIterator[LogLine], least: int) -> AsyncGenerator[bytes, None]:
    async for line in lines:
        if _RANK.get(line.level.lower(), 1) >= least:
            yield b"event: log\ndata: " + _data(line) + b"\n\n"


def _data(line: LogLine) -> bytes:
    return to_json(
        {
            "ts": iso(line.at_ms),
            "level": line.level,
            "component": line.component,
            "message": line.message,
            "fields": dict(line.fields),
        },
        inf_nan_mode="null",
        serialize_unknown=True,
    )
