"""The API on a real socket, and a reader of server-sent events that can stop anywhere."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Self

import uvicorn
from fastapi import FastAPI

from api.server import ApiProtocol


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


_OPEN: list["Reader"] = []
"""Connections that tests opened; they are dropped before their server ends."""


@contextlib.asynccontextmanager
async def serving(
    app: FastAPI, protocol: type[ApiProtocol] = ApiProtocol
) -> AsyncIterator[tuple[str, int]]:
    """Serve `app` on a free port of loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.setblocking(False)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            await asyncio.sleep(0.002)
        yield listener.getsockname()
    finally:
        while _OPEN:
            _OPEN.pop().close()
        server.should_exit = True
        await task
        listener.close()


@dataclass
class Frame:
    """One server-sent event as a browser sees it; `id` is None where none was sent."""

    id: int | None
    event: str
    data: str


@dataclass
class Reader:
    """A raw HTTP/1.1 connection that reads one answer."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)
    retry: int | None = None
    _rest: bytes = b""

    @classmethod
    async def request(
        cls,
        address: tuple[str, int],
        target: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> Self:
        """Send a request and read the head of its answer."""
        reader, writer = await asyncio.open_connection(*address)
        lines = {"host": "localhost", "content-length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        self = cls(reader, writer)
        _OPEN.append(self)
        status = await reader.readline()
        self.status = int(status.split()[1])
        while line := (await reader.readline()).strip():
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.lower()] = value.strip()
        return self

    @classmethod
    async def stream(
        cls, address: tuple[str, int], target: str, last_event_id: int | None = None
    ) -> Self:
        """Ask for a stream, resuming after `last_event_id`."""
        headers = {"accept": "text/event-stream"}
        if last_event_id is not None:
            headers["last-event-id"] = str(last_event_id)
        return await cls.request(address, target, headers=headers)

    async def frames(self) -> AsyncIterator[Frame]:
        """Yield the events of a chunked answer until it ends."""
        while block := await self._block():
            fields: dict[str, str] = {}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                if name == "":
                    self.comments.append(value.strip())
                fields[name] = value.strip()
            if "retry" in fields:
                self.retry = int(fields["retry"])
            if "data" in fields:
                number = int(fields["id"]) if "id" in fields else None
                yield Frame(number, fields.get("event", "message"), fields["data"])

    async def take(self, count: int) -> list[Frame]:
        """Return the next `count` events."""
        found: list[Frame] = []
        if count:
            async for frame in self.frames():
                found.append(frame)
                if len(found) == count:
                    break
        return found

    async def all(self) -> list[Frame]:
        """Return every event up to the end."""
        return [frame async for frame in self.frames()]

    async def text(self) -> str:
        """Return the body of an answer with a length."""
        size = int(self.headers.get("content-length", "0"))
        return (await self.reader.readexactly(size)).decode()

    async def _block(self) -> bytes:
        while b"\n\n" not in self._rest:
            size = int((await self.reader.readline()).strip() or b"0", 16)
            if size == 0:
                return b""
            self._rest += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        block, _, self._rest = self._rest.partition(b"\n\n")
        return block

    def close(self) -> None:
        """Drop the connection."""
        self.writer.transport.abort()
