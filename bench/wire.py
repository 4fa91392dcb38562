"""HTTP/1.1 as a measuring client needs it: keep-alive, a clock on every piece, nothing else.

Pieces are kept as they came and read after the measurement, so that the client costs little while
the clock runs. `Connection` blocks and is for one request at a time; `stream.py` holds many.
"""

import contextlib
import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

_READ_BYTES = 256 * 1024


class BrokenReplyError(Exception):
    """The connection ended before the answer did, or the answer is not HTTP."""


class ReplyReader:
    """Turns received bytes into the body's bytes; sees where the answer ends."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_done = False
        self._buffer = b""
        self._in_head = True
        self._is_chunked = False
        self._left: int | None = None

    def feed(self, data: bytes) -> bytes:
        """Return what of the body `data` completes."""
        self._buffer += data
        if self._in_head and not self._read_head():
            return b""
        return self._read_chunks() if self._is_chunked else self._read_plain()

    def _read_head(self) -> bool:
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        if not first.startswith("HTTP/1.1 "):
            raise BrokenReplyError(f"not an HTTP answer: {first[:80]!r}")
        self.status = int(first.split(" ", 2)[1])
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        self._in_head = False
        self._buffer = rest
        self._is_chunked = self.headers.get("transfer-encoding") == "chunked"
        if not self._is_chunked:
            self._left = int(self.headers.get("content-length", "0"))
        return True

    def _read_plain(self) -> bytes:
        assert self._left is not None
        body, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(body)
        self.is_done = self._left == 0
        return body

    def _read_chunks(self) -> bytes:
        buffer, at, pieces = self._buffer, 0, []
        while not self.is_done:
            line = buffer.find(b"\r\n", at)
            if line < 0:
                break
            size = int(buffer[at:line], 16)
            end = line + 2 + size
            if len(buffer) < end + 2:
                break
            pieces.append(buffer[line + 2 : end])
            at = end + 2
            self.is_done = size == 0
        self._buffer = buffer[at:]
        return b"".join(pieces)


@dataclass(slots=True)
class Reply:
    """An answer with the clock (`time.monotonic_ns`) of each piece of its body."""

    sent_ns: int
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[tuple[int, bytes]] = field(default_factory=list)
    is_whole: bool = False

    @property
    def body(self) -> bytes:
        """Return the body."""
        return b"".join(piece for _, piece in self.pieces)

    @property
    def ended_ns(self) -> int:
        """Return when the last piece came."""
        return self.pieces[-1][0] if self.pieces else self.sent_ns

    def json(self) -> Any:  # noqa: ANN401 - JSON is what the server sent
        """Return the body as JSON.

        Raises:
            BrokenReplyError: it was refused.
        """
        if self.status >= 400:
            raise BrokenReplyError(f"{self.status}: {self.body.decode()[:500]}")
        return json.loads(self.body)


def request_bytes(
    method: str, target: str, body: object = None, headers: dict[str, str] | None = None
) -> bytes:
    """Return a request ready to send."""
    lines = [f"{method} {target} HTTP/1.1", "host: 127.0.0.1"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    data = b""
    if body is not None:
        data = json.dumps(body).encode()
        lines += ["content-type: application/json", f"content-length: {len(data)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Connection:
    """One keep-alive connection to a server on this machine, blocking."""

    def __init__(self, port: int, timeout: float = 60.0) -> None:
        self._port = port
        self._timeout = timeout
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(
        self, method: str, target: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Any:  # noqa: ANN401 - JSON is what the server sent
        """Return the JSON of an answer.

        Raises:
            BrokenReplyError: it was refused or broke.
        """
        return self.send(request_bytes(method, target, body, headers)).json()

    def send(self, request: bytes, on_piece: Callable[[bytes], bool] | None = None) -> Reply:
        """Send one request and read its answer; `on_piece` stops the reading by returning True.

        Raises:
            BrokenReplyError: the connection ended first.
        """
        connection = self._open()
        reader = ReplyReader()
        reply = Reply(time.monotonic_ns())
        connection.sendall(request)
        while not reader.is_done:
            data = self._receive(connection)
            now = time.monotonic_ns()
            piece = reader.feed(data) if data else b""
            reply.status, reply.headers = reader.status, reader.headers
            if piece:
                reply.pieces.append((now, piece))
                if on_piece is not None and on_piece(piece):
                    self.close()
                    return reply
            if not data:
                self.close()
                return self._broken(reply)
        reply.is_whole = True
        return reply

    def _open(self) -> socket.socket:
        if self._socket is None:
            opened = socket.create_connection(("127.0.0.1", self._port), self._timeout)
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = opened
        return self._socket

    def _receive(self, connection: socket.socket) -> bytes:
        with contextlib.suppress(ConnectionResetError):
            return connection.recv(_READ_BYTES)
        return b""

    @staticmethod
    def _broken(reply: Reply) -> Reply:
        """Return what was read of a stream that broke; an answer that never began is an error."""
        if not reply.status:
            raise BrokenReplyError("the connection ended before an answer")
        return reply
