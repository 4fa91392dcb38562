"""uvicorn sending the bytes of a file from memory, in pieces as large as ours, nothing else."""

import argparse
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

_PIECE_BYTES = 64 * 1024

Message = MutableMapping[str, Any]


class FromMemory:
    """An ASGI app with one answer."""

    def __init__(self, body: bytes) -> None:
        self._pieces = [body[at : at + _PIECE_BYTES] for at in range(0, len(body), _PIECE_BYTES)]

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Send the bytes."""
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in self._pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> None:
    """Serve a file until killed; prints the port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", required=True, type=Path)
    app = FromMemory(parser.parse_args().file.read_bytes())
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f'{{"port": {listener.getsockname()[1]}}}\n')
    sys.stdout.flush()
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", http="httptools"
    )
    _Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
    os._exit(0)
