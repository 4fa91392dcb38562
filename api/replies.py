"""Answers as bytes: JSON written once, lists in their one shape."""

import re
from collections.abc import Mapping, Sequence

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from api.views import View

_JSON = ("application/json", "application/*", "*/*")
"""What asks for JSON; the most specific counts."""
_Q = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?")


def reply(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return `body` as JSON."""
    content = to_json(body, inf_nan_mode="null")
    return Response(content, status, headers, media_type="application/json")


def listed(name: str, items: Sequence[View], cursor: str | None) -> Response:
    """Return one page of a list."""
    return reply({name: items, "has_more": cursor is not None, "next_cursor": cursor})


def wants_stream(request: Request) -> bool:
    """Say whether the caller asks for server-sent events: by name, and no less than for JSON."""
    asked = _qualities(",".join(request.headers.getlist("accept")))
    stream = asked.get("text/event-stream", 0.0)
    json = next((asked[kind] for kind in _JSON if kind in asked), 0.0)
    return stream > 0 and stream >= json


def _qualities(accept: str) -> dict[str, float]:
    """Return what an Accept header asks for, each with its `q`. Source: RFC 9110, 12.4.2."""
    found: dict[str, float] = {}
    for item in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        named = (text.partition("=") for text in parameters)
        found[kind] = next((_quality(value) for name, _, value in named if name == "q"), 1.0)
    return found


def _quality(text: str) -> float:
    return float(text) if _Q.fullmatch(text) else 1.0
