"""Answers as bytes: JSON written once, lists in their one shape."""

from collections.abc import Mapping, Sequence

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from api.views import View


def reply(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `body` as JSON."""
    content = to_json(body, inf_nan_mode="null")
    return Response(content, status, headers, media_type="application/json")


def listed(name: str, items: Sequence[View], cursor: str | None) -> Response:
    """Return one page of a list."""
    return reply({name: items, "has_more": cursor is not None, "next_cursor": cursor})


def wants_stream(request: Request) -> bool:
    """Say whether the caller asks for server-sent events."""
    return "text/event-stream" in request.headers.get("accept", "")
