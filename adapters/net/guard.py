"""An HTTP client that checks every address where it connects. Knows no tool and no agent.

The check sits in httpcore2's network backend, below names, redirects and connection reuse: the name
is resolved once, every resolved address is judged, and the socket goes to a judged address, while
SNI and Host keep the name. A name that changes its address between two looks gains nothing, because
there is one look. Proxies, netrc and cookies of the environment are not used.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Protocol

import httpcore2
import httpx2

from adapters.net.policy import AddressPolicy

MAX_ADDRESSES_TRIED = 4
"""Connection attempts per request; a name with more addresses gains nothing from the rest."""
USER_AGENT = "durable-orchestrator"


class Resolver(Protocol):
    """Where addresses of names come from."""

    async def __call__(self, host: str, port: int) -> list[str]:
        """Return the IP addresses of `host`; OSError when it has none."""
        ...


async def resolve(host: str, port: int) -> list[str]:
    """Ask the system for the addresses of `host`; an address in standard notation is itself."""
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"host {host[:100]!r} is not a host name") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Connects to judged addresses only; to sockets in the file system not at all."""

    def __init__(
        self,
        policy: AddressPolicy,
        resolver: Resolver = resolve,
        inner: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._policy = policy
        self._resolver = resolver
        self._inner = inner or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve, judge every address, connect to the first that answers within `timeout`."""
        try:
            async with asyncio.timeout(timeout):
                addresses = self._policy.judge(host, port, await self._addresses(host, port))
                return await self._first(addresses, port, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"no connection within {timeout} s") from error

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            return await self._resolver(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"host {host[:100]} cannot be resolved") from error

    async def _first(
        self,
        addresses: list[str],
        port: int,
        local_address: str | None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None,
    ) -> httpcore2.AsyncNetworkStream:
        options = list(socket_options or ())
        failure: httpcore2.ConnectError | None = None
        for address in addresses[:MAX_ADDRESSES_TRIED]:
            try:
                return await self._inner.connect_tcp(
                    address, port, local_address=local_address, socket_options=options
                )
            except httpcore2.ConnectError as error:
                failure = error
        raise failure or httpcore2.ConnectError("no address")


class GuardedTransport(httpx2.AsyncBaseTransport):
    """httpx2 over a guarded pool; also usable by vendor SDKs that take an httpx2 client."""

    def __init__(
        self,
        policy: AddressPolicy,
        *,
        resolver: Resolver = resolve,
        inner: httpcore2.AsyncNetworkBackend | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._backend = GuardedBackend(policy, resolver, inner)
        self._ssl_context = ssl_context
        self._pools: dict[str, httpcore2.AsyncConnectionPool] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, without following anything."""
        url = self._policy.check_url(str(request.url))
        target = httpcore2.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        pool = self._pools.get(url.scheme) or await self._open_pool(url.scheme)
        with _as_httpx_errors():
            response = await pool.handle_async_request(
                httpcore2.Request(
                    method=request.method,
                    url=target,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx2.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    async def _open_pool(self, scheme: str) -> httpcore2.AsyncConnectionPool:
        """Make the pool of `scheme`. Reading the CA bundle takes tens of ms: once, off the loop."""
        if scheme == "https" and self._ssl_context is None:
            self._ssl_context = await asyncio.to_thread(httpx2.create_ssl_context)
        pool = httpcore2.AsyncConnectionPool(
            ssl_context=self._ssl_context,
            max_connections=None,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=self._backend,
        )
        return self._pools.setdefault(scheme, pool)

    async def aclose(self) -> None:
        """Close every connection."""
        for pool in self._pools.values():
            await pool.aclose()


class _Body(httpx2.AsyncByteStream):
    """A response's bytes, with httpcore2's errors as httpx2's."""

    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx_errors():
            async for part in self._response.aiter_stream():
                yield part

    async def aclose(self) -> None:
        await self._response.aclose()


@contextmanager
def _as_httpx_errors() -> Iterator[None]:
    """Raise httpcore2's errors as the httpx2 errors of the same name."""
    try:
        yield
    except (
        httpcore2.TimeoutException,
        httpcore2.NetworkError,
        httpcore2.ProtocolError,
        httpcore2.UnsupportedProtocol,
    ) as error:
        same: type[httpx2.TransportError] = getattr(httpx2, type(error).__name__)
        raise same(str(error)) from error


def guarded_client(
    policy: AddressPolicy,
    *,
    resolver: Resolver = resolve,
    inner: httpcore2.AsyncNetworkBackend | None = None,
    ssl_context: ssl.SSLContext | None = None,
    timeout: httpx2.Timeout | None = None,
) -> httpx2.AsyncClient:
    """Return a client that can reach only what `policy` accepts and that keeps no cookies.

    `inner` opens the sockets to judged addresses; the default is httpcore2's own.
    """
    transport = GuardedTransport(policy, resolver=resolver, inner=inner, ssl_context=ssl_context)
    return httpx2.AsyncClient(
        transport=transport,
        timeout=timeout or httpx2.Timeout(10.0, connect=5.0),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={"User-Agent": USER_AGENT},
        follow_redirects=False,
        trust_env=False,
    )
