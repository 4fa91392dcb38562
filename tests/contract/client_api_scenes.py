"""The API over a store for tools of clients, and a run that asks a client."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2

from api.app import create_app, drain
from api.ports import StreamConfig
from domain.step import AwaitingClient
from domain.tool import Effect
from tests.contract.store_api import QuietGateway, ports_over
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import asks_tool, execution, open_step
from tests.fakes.world import World, fake_config

TOOL: dict[str, Any] = {"name": "mail", "description": "Send.", "effect": "none"}
HOST = "/v1/tool_hosts/laptop"


@contextlib.asynccontextmanager
async def calling(store: StoreBox, world: World) -> AsyncIterator[httpx2.AsyncClient]:
    """Open a client of the API over a store, with an agent to ask."""
    ports = replace(ports_over(store, world.ports(), QuietGateway()), clock=store.clock)
    stream = StreamConfig(requests_seconds=0.01)
    app = create_app(ports, fake_config(max_wait_seconds=0.2, stream=stream))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://localhost"
    ) as made:
        agent = {"agent_id": "assistant", "name": "Assistant"}
        assert (await made.post("/v1/agents", json=agent)).status_code == 201
        yield made
    # What goes on behind answers has to end before its database goes.
    await drain(app, 5)


async def start(client: httpx2.AsyncClient, store: StoreBox, **fields: Any) -> str:
    """Start a run that asks a client for one call; return the call."""
    fields.setdefault("client_tools", [TOOL])
    answer = await client.post("/v1/runs", json={"input": "x", **fields})
    assert answer.status_code == 202, answer.text
    run_id = answer.json()["run_id"]
    await store.steps.close(await open_step(store, run_id), _asks(fields["client_tools"]))
    found = await store.steps.open(execution(run_id, "tool-1-0"))
    assert isinstance(found, AwaitingClient), found
    return found.tool_call_id


def _asks(tools: list[dict[str, Any]]) -> Any:
    return asks_tool(Effect(tools[0].get("effect", "unsafe") if tools else "none"))
