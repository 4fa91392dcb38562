"""The HTTP client that every vendor SDK is given. Knows HTTP, not what a model says.

Redirects are never followed: a base URL is an operator's decision, and following one would carry a
prompt to a host nobody chose. Whatever is not an event stream ends here, as one of our errors, with
a bounded look at its body; so no vendor exception ever holds a body or a header.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import httpx2

from adapters.llm.refusals import status_error
from adapters.net.loopback import is_loopback, verify_for
from domain.errors import MalformedReplyError

_MAX_ERROR_BODY = 64 * 1024
"""Bytes of an error's body that are read."""
_ERROR_BODY_SECONDS = 5.0
"""How long an error's body may take; what has arrived by then is used."""
TRANSPORT_ERRORS: tuple[type[Exception], ...] = (httpx2.HTTPError, httpx2.StreamError, OSError)
"""What a broken connection is told with."""
_WRITE_SECONDS = 30.0
_IDLE_CONNECTIONS = 64
_IDLE_SECONDS = 30.0
"""Idle connections are kept for a handshake saved, and dropped before most servers drop them."""


def build_client(
    provider: str, base_url: str, connect_seconds: float, secrets: tuple[str, ...]
) -> httpx2.AsyncClient:
    """Return the client for `base_url`; a proxy from the environment is not used on loopback."""
    is_local = is_loopback(base_url)
    return httpx2.AsyncClient(
        follow_redirects=False,
        trust_env=not is_local,
        verify=verify_for(base_url),
        # Reads are bounded by the reply's own deadlines (reading.py): a read timeout here would
        # cost a timer per chunk and be fed by keep-alives.
        timeout=httpx2.Timeout(
            connect=connect_seconds, read=None, write=_WRITE_SECONDS, pool=connect_seconds
        ),
        limits=httpx2.Limits(
            max_connections=None,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
        ),
        event_hooks={"response": [_only_streams(provider, secrets)]},
    )


def _only_streams(
    provider: str, secrets: tuple[str, ...]
) -> Callable[[httpx2.Response], Awaitable[None]]:
    async def check(response: httpx2.Response) -> None:
        if response.status_code != 200:
            body = await _excerpt(response)
            raise status_error(provider, response.status_code, response.headers, body, secrets)
        kind = response.headers.get("content-type", "")
        if "json" in kind or "html" in kind:
            raise MalformedReplyError(f"{provider} answered without a stream")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise MalformedReplyError(f"{provider} compressed its stream unasked")

    return check


async def _excerpt(response: httpx2.Response) -> bytes:
    body = bytearray()
    if "content-encoding" in response.headers:
        return bytes(body)
    with contextlib.suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(_ERROR_BODY_SECONDS):
            async for piece in response.aiter_raw():
                body += piece[:_MAX_ERROR_BODY]
                if len(body) >= _MAX_ERROR_BODY:
                    break
    return bytes(body[:_MAX_ERROR_BODY])
