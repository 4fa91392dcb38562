"""A server that answers with the bytes it was given, whatever they are, and counts who came."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager


class RawServer:
    """Answers by path, or with `answers[""]`; holds the connection afterwards when `hold`."""

    def __init__(self, answers: Mapping[str, Iterable[bytes]], *, hold: bool) -> None:
        self._answers = answers
        self._hold = hold
        self.port = 0
        self.connections = 0
        self.requests: list[bytes] = []
        self.peer_gone = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            path = await self._read_request(reader)
            for piece in self._answers.get(path, self._answers.get("", ())):
                writer.write(piece)
                await writer.drain()
            if self._hold:
                await reader.read()
        self.peer_gone.set()
        writer.close()

    async def _read_request(self, reader: asyncio.StreamReader) -> str:
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        self.requests.append(head + await reader.readexactly(length))
        return head.split(b" ")[1].partition(b"?")[0].decode()


@asynccontextmanager
async def raw_server(
    answers: Mapping[str, Iterable[bytes]] | None = None, *, hold: bool = False
) -> AsyncIterator[RawServer]:
    server = RawServer(answers or {"": [http(200, b"canary")]}, hold=hold)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Return a response that ends with the connection."""
    lines = [f"HTTP/1.1 {status} X", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def sse(*events: tuple[str, object]) -> bytes:
    """Return an event stream in a response of its own."""
    blocks = [f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events]
    return http(200, "".join(blocks).encode(), Content_Type="text/event-stream")
