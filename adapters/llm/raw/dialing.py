"""How a server is reached: straight, or through the proxy that the environment names.

`HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` count as for other clients, but not on loopback. Through
a proxy every server is reached by CONNECT. Source: RFC 9110 9.3.6.
"""

import asyncio
import base64
import ssl
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from adapters.llm.raw.connection import Connection, WireError
from adapters.net.loopback import is_loopback


@dataclass(frozen=True, slots=True)
class Place:
    """A server, and the proxy that it is reached through."""

    host: str
    port: int
    is_tls: bool
    proxy: SplitResult | None = field(default=None, repr=False)

    @property
    def authority(self) -> str:
        """Return what the Host header says."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.is_tls else 80
        return name if self.port == usual else f"{name}:{self.port}"


def place_of(base_url: str) -> Place:
    """Return where the server of an http(s) URL is."""
    parts = urlsplit(base_url)
    is_tls = parts.scheme == "https"
    host = parts.hostname or ""
    return Place(host, parts.port or (443 if is_tls else 80), is_tls, _proxy(base_url, parts))


def _proxy(base_url: str, parts: SplitResult) -> SplitResult | None:
    host = parts.hostname or ""
    if is_loopback(base_url) or urllib.request.proxy_bypass(host):
        return None
    found = urllib.request.getproxies()
    url = found.get(parts.scheme) or found.get("all")
    if not url:
        return None
    return urlsplit(url if "://" in url else f"http://{url}")


class Dialer:
    """Opens connections to one place."""

    def __init__(self, place: Place, seconds: float) -> None:
        self._place = place
        self._seconds = seconds
        self._context: ssl.SSLContext | None = None

    async def warm(self) -> None:
        """Load the certificates that are trusted, off the event loop: it takes 40 ms."""
        if self._place.is_tls and self._context is None:
            self._context = await asyncio.to_thread(_context)

    async def dial(self) -> Connection:
        """Return a new connection.

        Raises:
            OSError, TimeoutError, WireError: it cannot be reached.
        """
        await self.warm()
        async with asyncio.timeout(self._seconds):
            if self._place.proxy is not None:
                return await self._through(self._place.proxy)
            loop = asyncio.get_running_loop()
            place = self._place
            _, connection = await loop.create_connection(
                Connection, place.host, place.port, ssl=self._context
            )
            return connection

    async def _through(self, proxy: SplitResult) -> Connection:
        if proxy.scheme != "http" or not proxy.hostname:
            raise WireError("a proxy is reached as http://host:port")
        loop = asyncio.get_running_loop()
        transport, tunnel = await loop.create_connection(
            _Tunnel, proxy.hostname, proxy.port or 8080
        )
        place = self._place
        name = f"[{place.host}]" if ":" in place.host else place.host
        target = f"{name}:{place.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *_credentials(proxy)]
        transport.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        try:
            await tunnel.opened
        except BaseException:
            transport.abort()
            raise
        connection = Connection()
        if self._context is None:
            transport.set_protocol(connection)
            connection.connection_made(transport)
            return connection
        inner = await loop.start_tls(
            transport, connection, self._context, server_hostname=place.host
        )
        assert inner is not None
        connection.connection_made(inner)
        return connection


class _Tunnel(asyncio.Protocol):
    """What a proxy answers to CONNECT."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        if b"\r\n\r\n" not in self._data or self.opened.done():
            return
        status = self._data.split(b" ", 2)[1:2]
        if status == [b"200"]:
            self.opened.set_result(None)
        else:
            self.opened.set_exception(WireError("the proxy does not let us through"))

    def connection_lost(self, _: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(WireError("the proxy closed the connection"))


def _credentials(proxy: SplitResult) -> list[str]:
    if proxy.username is None:
        return []
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return [f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode('ascii')}"]


def _context() -> ssl.SSLContext:
    return ssl.create_default_context()
