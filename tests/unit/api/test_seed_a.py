"""Seed A's paths, as far as they need no store."""

import asyncio
from contextlib import aclosing
from typing import Any

import httpx2
import pytest

from api.access import Access
from api.app import create_app
from api.ports import StreamConfig
from api.routes.seed_a import frames
from api.routes.seed_a_agents import session_of
from domain.auth import LOCAL
from domain.event import EventType
from domain.principal import Scope
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect


async def test_a_quiet_log_beats(world: World) -> None:
    world.logs.lines, world.logs.open = [], True
    app = create_app(world.ports(), fake_config(stream=StreamConfig(beat_seconds=0.01)))
    desk = app.state.services

    async with (
        asyncio.timeout(10),
        aclosing(frames(desk, Access(LOCAL), world.logs.subscribe())) as beats,
    ):
        found = [await anext(beats) for _ in range(3)]

    assert all(b"heartbeat: 1 agents online" in beat for beat in found)


@pytest.mark.parametrize(
    ("agent", "conversation", "session"),
    [("a", None, "chat:a"), ("a", "b", "chat:a:b")],
)
def test_a_conversation_is_a_session(agent: str, conversation: str | None, session: str) -> None:
    assert session_of(agent, conversation) == session
    assert len(session_of("a" * 100, "b" * 61)) <= 128


async def test_without_the_usual_agent_the_first_one_answers(
    world: World, connect: Connect
) -> None:
    world.add_agent("aardvark")
    world.directory.agents.pop((None, "assistant"))
    client = connect(create_app(world.ports(), fake_config()))

    said = await client.post("/api/chat", json={"message": "Hi"})
    world.directory.agents.clear()
    nobody = await client.post("/api/chat", json={"message": "Hi"})

    assert (said.status_code, said.json()["agent_id"]) == (200, "aardvark")
    assert nobody.status_code == 422


async def said_meanwhile(
    client: httpx2.AsyncClient, world: World, kind: EventType, data: dict[str, Any]
) -> httpx2.Response:
    """Say something, and let that happen to the run."""
    saying = asyncio.create_task(client.post("/api/chat", json={"message": "Hi"}))
    while not world.runs.runs:
        await asyncio.sleep(0.001)
    world.runs.emit(next(iter(world.runs.runs)), kind, data)
    return await asyncio.wait_for(saying, 10)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (EventType.RUN_WAITING, {"waiting_on": "budget"}),
        (EventType.RUN_FAILED, {"code": "budget_exhausted", "message": "no money"}),
    ],
)
async def test_a_chat_without_money_says_so_at_once(
    client: httpx2.AsyncClient, world: World, kind: EventType, data: dict[str, Any]
) -> None:
    answer = await said_meanwhile(client, world, kind, data)

    assert answer.status_code == 402
    assert answer.json()["error"]["code"] == "budget_exhausted"


async def test_scopes_hold_on_the_seeds_paths_too(world: World, connect: Connect) -> None:
    app = create_app(world.ports(), fake_config())
    reader = connect(app, world.add_key(Scope.READ, owner="ann"))

    assert (await reader.get("/api/status")).status_code == 200
    assert (await reader.post("/api/chat", json={"message": "Hi"})).status_code == 403
    assert (await reader.delete("/api/agents/assistant/memory")).status_code == 403
    assert (await reader.get("/api/logs/stream")).status_code == 403
    assert (await connect(app).get("/api/status")).status_code == 401


async def test_other_origins_are_let_in_as_the_setting_says(world: World, connect: Connect) -> None:
    config = fake_config(allowed_origins=frozenset({"https://dash.example"}))
    client = connect(create_app(world.ports(), config))

    answer = await client.get("/api/status", headers={"origin": "https://dash.example"})

    assert answer.headers["access-control-allow-origin"] == "https://dash.example"
