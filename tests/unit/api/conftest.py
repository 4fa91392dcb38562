"""An app over fakes, and a client that calls it without a socket."""

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from tests.fakes.world import World, fake_config

Connect = Callable[..., httpx2.AsyncClient]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def app(world: World) -> FastAPI:
    return create_app(world.ports(), fake_config())


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Open a client of an app, with a key if one is given."""
    clients: list[httpx2.AsyncClient] = []

    def connect(app: FastAPI, key: str | None = None) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        transport = httpx2.ASGITransport(app)
        client = httpx2.AsyncClient(
            transport=transport, base_url="http://localhost", headers=headers
        )
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.aclose()


@pytest.fixture
def client(app: FastAPI, connect: Connect) -> httpx2.AsyncClient:
    return connect(app)
