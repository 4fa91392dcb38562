"""Which methods a path takes: HEAD wherever GET is answered at once, and what `Allow` names.

Knows the app's routes, and nothing of what they do.
"""

from collections.abc import Iterator

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Heads:
    """Answers HEAD as GET without its body. A stream has no end and so no head of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http" or scope["method"] != "HEAD" or "HEAD" not in allowed(scope):
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        # A copy: the server itself has to see HEAD.
        inner = {**scope, "method": "GET"}
        await self._app(inner, receive, send_head)
        scope.update({name: inner[name] for name in ("route", "path_params") if name in inner})


def allowed(scope: Scope) -> list[str]:
    """Return the methods that the request's path takes, in order."""
    found: set[str] = set()
    for route in _routes(scope):
        methods = route.methods or set()
        found |= methods
        if "GET" in methods and not _is_stream(route):
            found.add("HEAD")
    return sorted(found)


def _routes(scope: Scope) -> Iterator[APIRoute]:
    for route in scope["app"].routes:
        if isinstance(route, APIRoute) and route.matches(scope)[0] is not Match.NONE:
            yield route


def _is_stream(route: APIRoute) -> bool:
    return "text/event-stream" in route.responses.get(200, {}).get("content", {})
