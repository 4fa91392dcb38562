"""A small HTTP/1.1 server whose every byte and close is under control. Knows no endpoint."""

import asyncio
import contextlib
import json
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

MAX_REQUEST_BYTES = 64 * 1024 * 1024


class ClientGoneError(Exception):
    """The client closed its connection before the answer was whole."""


@dataclass(slots=True)
class Request:
    """One request, its body read."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as JSON, an empty object when there is none."""
        return json.loads(self.body) if self.body else {}


Handler = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """A request and the ways to answer it. Writing after the client left raises."""

    def __init__(self, request: Request, connection: "_Connection") -> None:
        self.request = request
        self._connection = connection
        self._is_chunked = False
        self.is_ended = False

    @property
    def client_left(self) -> bool:
        """Whether the client has closed its side."""
        return self._connection.gone.is_set()

    async def reply_json(
        self, value: object, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Send one whole JSON answer."""
        await self.reply(
            json.dumps(value).encode(),
            status,
            {"content-type": "application/json"} | (headers or {}),
        )

    async def reply(
        self, body: bytes, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Send one whole answer."""
        head = {"content-length": str(len(body))} | (headers or {})
        await self._write(_head(status, head) + body)
        self.is_ended = True

    async def start_stream(
        self,
        content_type: str = "text/event-stream",
        headers: dict[str, str] | None = None,
        status: int = 200,
    ) -> None:
        """Send the head of a chunked answer."""
        self._is_chunked = True
        head = {"content-type": content_type, "transfer-encoding": "chunked"} | (headers or {})
        await self._write(_head(status, head))

    async def send(self, data: bytes) -> None:
        """Send one chunk of the body."""
        await self._write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        """End the answer cleanly, as far as HTTP is concerned."""
        if self._is_chunked:
            await self._write(b"0\r\n\r\n")
        self.is_ended = True

    def reset(self) -> None:
        """Cut the connection without an end."""
        self.is_ended = True
        self._connection.abort()

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the client leaves first.

        Raises:
            ClientGoneError: the client left.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._connection.gone.wait()
        self._check()

    async def hang(self) -> None:
        """Wait until the client leaves, then raise `ClientGoneError`."""
        await self._connection.gone.wait()
        self._check()

    async def _write(self, data: bytes) -> None:
        self._check()
        await self._connection.write(data)
        self._check()

    def _check(self) -> None:
        if self.client_left:
            raise ClientGoneError


def _head(status: int, headers: dict[str, str]) -> bytes:
    known = {item.value: item.phrase for item in HTTPStatus}
    phrase = known.get(status, "Unknown")
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {text}" for name, text in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class _Connection(asyncio.Protocol):
    """One client connection: requests in turn, each handled by a task of its own."""

    def __init__(self, server: "StubServer") -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=256 * 1024)
        self._server.connections.add(self)
        self._server.accepted += 1

    def connection_lost(self, _: Exception | None) -> None:
        self.gone.set()
        self._writable.set()
        self._server.connections.discard(self)

    def eof_received(self) -> bool:
        self.gone.set()
        return False

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None:
            self._next_request()

    async def write(self, data: bytes) -> None:
        """Send, waiting while the client does not read."""
        if self._transport is not None and not self.gone.is_set():
            self._transport.write(data)
        await self._writable.wait()

    def abort(self) -> None:
        """Reset the connection."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close once everything written has left."""
        if self._transport is not None:
            self._transport.close()

    def _next_request(self) -> None:
        parsed = _parse(self._buffer)
        if parsed is None:
            if len(self._buffer) > MAX_REQUEST_BYTES:
                self.abort()
            return
        request, self._buffer = parsed
        self._task = asyncio.get_running_loop().create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        exchange = Exchange(request, self)
        try:
            await self._server.handler(exchange)
        except ClientGoneError:
            pass
        except Exception:  # noqa: BLE001 - a broken stub must show, not hang the test
            traceback.print_exc()
            exchange.reset()
            return
        finally:
            self._task = None
        if not exchange.is_ended:
            self.close()
        elif not self.gone.is_set():
            self._next_request()


def _parse(buffer: bytes) -> tuple[Request, bytes] | None:
    head, end, rest = buffer.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if len(rest) < length:
        return None
    method, target, _ = first.split(" ", 2)
    parts = urlsplit(target)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return Request(method, parts.path, query, headers, rest[:length]), rest[length:]


@dataclass(slots=True)
class StubServer:
    """A listening server; `async with StubServer(handler) as server` starts and stops it."""

    handler: Handler
    port: int = 0
    host: str = "127.0.0.1"
    connections: set[_Connection] = field(default_factory=set)
    accepted: int = 0
    """Connections since the start."""
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self.connections):
            connection.abort()
        await self._server.wait_closed()
        # What a handler does after its client is gone belongs to this server, not to the next.
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def serving(handler: Handler, port: int = 0) -> AsyncIterator[StubServer]:
    """Serve `handler` on loopback while the block runs."""
    async with StubServer(handler, port) as server:
        yield server


def run_forever(handler: Handler, port: int) -> None:
    """Serve until killed; prints one line of JSON with the port when ready."""

    async def main() -> None:
        async with serving(handler, port) as server:
            print(json.dumps({"port": server.port, "url": server.url}), flush=True)
            await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
