"""The outermost layer: request ids, headers of every answer, the request log, the last resort."""

import asyncio
import logging
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import PUBLIC
from api.errors import Problem, respond
from api.metrics import Metrics
from api.printable import printable
from domain.ports import Ids

_LOG = logging.getLogger("api.requests")
FIXED_HEADERS: list[tuple[bytes, bytes]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
DEFAULT_HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]
"""Added unless the route said otherwise."""
_ID_BYTES = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


def request_id_of(scope: Scope) -> str:
    """Return the id of the request, which the edge gave it."""
    return str(scope.get("request_id", ""))


class Edge:
    """Wraps the whole app."""

    def __init__(self, app: ASGIApp, ids: Ids, metrics: Metrics) -> None:
        self._app = app
        self._ids = ids
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        now = asyncio.get_running_loop().time
        started = now()
        answer = _Answer(send, self._request_id(scope))
        scope["request_id"] = answer.request_id
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, answer)
        except Exception:  # noqa: BLE001 -- the last resort: a bug answers 500, with its id in the log
            _LOG.exception("request %s failed", answer.request_id)
            if not answer.status:
                text = f"an internal error; the log names it by {answer.request_id}"
                problem = Problem(500, "internal_error", text)
                await respond(problem, scope["path"], answer.request_id)(scope, receive, answer)
        finally:
            self._metrics.in_flight.dec()
            self._record(scope, answer, now() - started)

    def _request_id(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == b"x-request-id" and 0 < len(value) <= 64 and _ID_BYTES.issuperset(value):
                return str(value.decode("ascii"))
        return self._ids.new("req")

    def _record(self, scope: Scope, answer: "_Answer", seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "(none)")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(method, route, str(answer.status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        level = logging.DEBUG if scope["path"] in PUBLIC else logging.INFO
        if _LOG.isEnabledFor(level):
            _LOG.log(
                level,
                "%s %s %d",
                printable(scope["method"], 20),
                printable(scope["path"]),
                answer.status,
                extra=_fields(scope, answer, seconds),
            )


_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class _Answer:
    """The sending side of one request: adds headers, remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self.request_id = request_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            named = {name for name, _ in headers}
            headers += FIXED_HEADERS
            headers += [item for item in DEFAULT_HEADERS if item[0] not in named]
            headers.append((b"x-request-id", self.request_id.encode("ascii")))
            message["headers"] = headers
        await self._send(message)


def _fields(scope: Scope, answer: _Answer, seconds: float) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "request_id": answer.request_id,
        "duration_ms": round(seconds * 1000, 1),
        "client": (scope.get("client") or ("",))[0],
    }
    run_id = scope.get("run_id") or scope.get("path_params", {}).get("run_id")
    if run_id is not None:
        fields["run_id"] = printable(run_id, 80)
    return fields
