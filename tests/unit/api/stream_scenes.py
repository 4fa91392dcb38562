"""Streams of an app on a real socket, for the tests of what readers get."""

import asyncio
import json
import socket
from typing import Any

from api.app import create_app
from api.ports import StreamConfig
from tests.fakes.world import World, fake_config
from tests.rig.serving import Reader

Address = tuple[str, int]


def app_of(world: World, **stream: Any) -> Any:
    """Make an app over fakes; `stream` are fields of its `StreamConfig`."""
    return create_app(world.ports(), fake_config(stream=StreamConfig(**stream)))


async def start_run(address: Address, world: World, key: str | None = None) -> str:
    """Start a run and return its id."""
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    answer = await Reader.request(
        address, "/v1/runs", method="POST", headers=headers, body=b'{"input":"hi"}'
    )
    run_id = json.loads(await answer.text())["run_id"]
    answer.close()
    return str(run_id)


async def watch(address: Address, run_id: str, key: str) -> Reader:
    """Ask for a run's stream with a key."""
    return await Reader.request(
        address,
        f"/v1/runs/{run_id}/events",
        headers={"accept": "text/event-stream", "authorization": f"Bearer {key}"},
    )


async def watch_and_take_nothing(address: Address, run_id: str) -> socket.socket:
    """Ask for a run's stream with a small buffer; nothing is ever read from the socket."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, address)
    target = f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nhost: localhost\r\n"
    await loop.sock_sendall(sock, f"{target}accept: text/event-stream\r\n\r\n".encode())
    return sock
