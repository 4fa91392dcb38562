"""What a request passes before it reaches a route. Plain ASGI: a stream costs nothing extra."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.access import PROBES, PUBLIC, Access, Authenticator, is_public
from api.buckets import Buckets
from api.edge import request_id_of
from api.errors import RefusedError, problem_of, refuse, respond
from api.ports import ApiConfig, RateConfig
from domain.errors import (
    DrainingError,
    OrchestratorError,
    RateLimitedError,
    RequestTooLargeError,
    UnauthorizedError,
)

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_DISCARD_SECONDS = 2.0
"""How long the rest of a refused body is read, so that its sender gets to read the answer."""
_MOST_DISCARDED_BYTES = 64 * 1024 * 1024


async def _answer(
    error: OrchestratorError | RefusedError, scope: Scope, receive: Receive, send: Send
) -> None:
    problem = error.problem if isinstance(error, RefusedError) else problem_of(error)
    await respond(problem, scope["path"], request_id_of(scope))(scope, receive, send)


def _values(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]


class HostGuard:
    """Refuses names that are not ours and pages of other origins, even on loopback.

    A page in the user's browser can reach loopback by a name that it rebinds, or by a plain form.
    """

    def __init__(self, app: ASGIApp, config: ApiConfig) -> None:
        self._app = app
        self._hosts = config.allowed_hosts
        self._origins = config.allowed_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        refusal = self._check(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await _answer(refusal, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> RefusedError | None:
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            text = "the Host header names no host of this server; see ORCHESTRATOR_ALLOWED_HOSTS"
            return refuse(421, "unknown_host", text)
        if scope["method"] in _READS:
            return None
        for origin in _values(scope, b"origin"):
            if origin not in self._origins and not _is_same(origin, hosts[0]):
                return refuse(403, "foreign_origin", "requests from other origins are refused")
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and ("*" in self._hosts or name in self._hosts)


def _is_same(origin: str, host: str) -> bool:
    scheme, _, authority = origin.partition("://")
    return scheme in {"http", "https"} and authority.lower() == host.lower()


class DrainGuard:
    """Takes no new work while the process shuts down; probes are answered to the end."""

    def __init__(self, app: ASGIApp, is_draining: Callable[[], bool]) -> None:
        self._app = app
        self._is_draining = is_draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http" and self._is_draining() and scope["path"] not in PUBLIC:
            error = DrainingError("this process is shutting down; ask again in a moment")
            await _answer(error, scope, receive, send)
            return
        await self._app(scope, receive, send)


class AccessGuard:
    """Deny by default: a request without a usable credential goes no further.

    What it found stands in `scope["access"]`.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, rate: RateConfig) -> None:
        self._app = app
        self._authenticator = authenticator
        self._requests = Buckets(rate.per_second, rate.burst)
        self._failures = Buckets(rate.failures_per_second, rate.failures_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] == "http":
            try:
                await self._admit(scope)
            except (OrchestratorError, RefusedError) as error:
                await _answer(error, scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Scope) -> None:
        if scope["path"] in PROBES:
            return
        address = (scope.get("client") or ("unknown",))[0]
        caller = f"address {address}"
        if not is_public(scope["path"]):
            access = await self._identify(scope, caller)
            scope["access"] = access
            caller = access.who.key_id or caller
        _charge(self._requests, caller)

    async def _identify(self, scope: Scope, caller: str) -> Access:
        try:
            return await self._authenticator.access(scope["headers"], scope["query_string"])
        except UnauthorizedError:
            if _values(scope, b"authorization"):
                _charge(self._failures, caller)
            raise


def _charge(buckets: Buckets, caller: str) -> None:
    wait = buckets.take(caller, asyncio.get_running_loop().time())
    if wait:
        raise RateLimitedError("too many requests; slow down", retry_after=timedelta(seconds=wait))


class BodyGuard:
    """Bounds the size of a request body, counted as it arrives, and the time it may take."""

    def __init__(self, app: ASGIApp, most_bytes: int, seconds: float) -> None:
        self._app = app
        self._most = most_bytes
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Bounded(receive, send, self._most, self._seconds)
        declared = _values(scope, b"content-length")
        if declared and declared[0].isdigit() and int(declared[0]) > self._most:
            await _answer(body.refuse(_too_large(self._most)), scope, body.receive, body.send)
            return
        await self._app(scope, body.receive, body.send)


class _Bounded:
    """Both sides of one request whose body is bounded.

    A socket that is closed with unread data is reset, and the reset takes the answer from a caller
    that is still sending. So what still comes after a refusal is read and dropped, within bounds.
    """

    def __init__(self, receive: Receive, send: Send, most: int, seconds: float) -> None:
        self._receive = receive
        self._send = send
        self._most = most
        self._left = most
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._whole = False
        self._refused = False

    def refuse(self, error: RefusedError) -> RefusedError:
        """Note that the body is not wanted any more; returns `error`."""
        self._refused = True
        return error

    async def receive(self) -> Message:
        """Return the next part of the body (ASGI)."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            text = "the request body took too long"
            raise self.refuse(refuse(408, "request_timeout", text, connection="close")) from error
        self._left -= len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._left < 0:
            raise self.refuse(_too_large(self._most))
        return message

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on (ASGI); the last part of a refusal waits for the body."""
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if not (is_last and self._refused and not self._whole):
            await self._send(message)
            return
        await self._send({**message, "more_body": True})
        await self._discard()
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _discard(self) -> None:
        left = _MOST_DISCARDED_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISCARD_SECONDS):
                while left > 0 and not self._whole:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._whole = not message.get("more_body", False)


def _too_large(most: int) -> RefusedError:
    text = f"the request body is larger than {most} bytes"
    return refuse(413, RequestTooLargeError.code, text, connection="close")
