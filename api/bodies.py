"""Request bodies: JSON only, decoded to plain data, and refused when any part could do harm."""

import re
from collections.abc import Callable, Coroutine
from math import isfinite
from typing import Any

from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response

from api.errors import refuse

_SUSPECT = re.compile(rb"\\u0000|[eE]\+?\d\d|\d{300}")
"""Text that may decode to a NUL or to an infinite number: only then the values are walked."""


def parse_json(raw: bytes) -> Any:  # noqa: ANN401 -- plain JSON data of any shape
    """Decode a body. Depth is bounded at 200, lone surrogates and NaN are no JSON.

    Raises:
        RefusedError: 400, with the reason.
    """
    try:
        value = from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise refuse(400, "malformed_json", f"the body is not JSON: {error}") from error
    if _SUSPECT.search(raw):
        _check(value)
    return value


def _check(value: object) -> None:
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and "\0" in item:
            raise refuse(400, "malformed_json", "the body holds a NUL character")
        elif isinstance(item, float) and not isfinite(item):
            raise refuse(400, "malformed_json", "the body holds a number that is too large")


class _JsonRequest(Request):
    async def json(self) -> Any:  # noqa: ANN401 -- as Starlette's own
        return parse_json(await self.body())


class JsonRoute(APIRoute):
    """A route whose body, if it takes one, is strict JSON."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler with our way to read a body."""
        handler = super().get_route_handler()
        if self.body_field is None:
            return handler

        async def handle(request: Request) -> Response:
            _check_type(request)
            return await handler(_JsonRequest(request.scope, request.receive))

        return handle


def _check_type(request: Request) -> None:
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == "application/json" or media.endswith("+json"):
        return
    has_body = request.headers.get("content-length", "0") != "0"
    if media or has_body or "transfer-encoding" in request.headers:
        raise refuse(415, "unsupported_media_type", "send the body as application/json")
