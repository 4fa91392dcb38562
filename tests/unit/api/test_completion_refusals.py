"""Chat completions that are refused before anybody is asked."""

from typing import Any

import httpx2
import pytest

from domain.tiers import ModelTier
from tests.fakes.world import World
from tests.unit.api.test_completions import PATH, ask


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 7}, "model"),
        ({"model": ""}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": ["hi"]}, "messages"),
        ({"messages": [{"content": "hi"}]}, "messages"),
        ({"messages": [{"role": {}, "content": "hi"}]}, "messages"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 7}, "stream_options"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": 10**9}, "max_completion_tokens"),
        ({"n": 1000}, "n"),
        ({"azure_ad_token": "x"}, "azure_ad_token"),
        ({"vertex_project": "x"}, "vertex_project"),
        ({"models": ["openai/dear"]}, "models"),
        ({"provider": {"order": ["x"]}}, "provider"),
    ],
)
async def test_what_cannot_be_understood_is_refused_by_name(
    client: httpx2.AsyncClient, world: World, fields: dict[str, Any], param: str
) -> None:
    answer = await client.post(PATH, json=ask() | fields)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert world.raw.asked == []


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b'{"model": NaN}', b""])
async def test_what_is_no_json_object_is_refused(client: httpx2.AsyncClient, body: bytes) -> None:
    answer = await client.post(PATH, content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


async def test_other_types_and_headers_are_refused(client: httpx2.AsyncClient) -> None:
    typed = await client.post(PATH, content=b"{}", headers={"content-type": "text/plain"})
    named = await client.post(PATH, json=ask(), headers={"x-run-id": "not an id"})

    assert typed.status_code == 415
    assert named.status_code == 400


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("offline/echo", {"messages": [{"role": "user", "content": [{"type": []}]}]}),
        ("auto", {"tools": 5}),
        ("tier:simple", {"tools": True}),
        ("agent:assistant", {"messages": [{"role": "user", "content": [{"type": []}]}]}),
    ],
)
async def test_odd_types_are_the_callers_mistake(
    client: httpx2.AsyncClient, world: World, model: str, fields: dict[str, Any]
) -> None:
    world.tiers[ModelTier.SIMPLE] = ("offline/echo",)

    answer = await client.post(PATH, json=ask(model) | fields)

    assert answer.status_code in {200, 400, 404}
    assert answer.status_code == 200 or set(answer.json()) == {"error"}
