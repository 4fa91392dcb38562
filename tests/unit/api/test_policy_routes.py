"""Policies over HTTP: mistakes are told by their field, a change reaches what waits."""

from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect

TUTOR = {"agent_id": "tutor", "name": "Tutor"}


@pytest.mark.parametrize(
    "asking", [{"on_timeout": "approve"}, {"on_timeout": "escalate", "expires_in_seconds": 5}]
)
async def test_a_timeout_that_could_not_come_about_is_refused(
    client: httpx2.AsyncClient, asking: dict[str, Any]
) -> None:
    answer = await client.post("/v1/agents", json={**TUTOR, "tool_policy": {"approval": asking}})

    assert answer.status_code == 422
    assert "tool_policy.approval" in answer.text
    assert "needs" in answer.text


async def test_a_changed_policy_has_what_waits_ruled_on_again(
    world: World, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    app: FastAPI = create_app(world.ports(), fake_config())
    client, swept = connect(app), list[str]()

    async def sweep() -> Sequence[str]:
        swept.append("swept")
        return []

    # The fake has nothing to settle; here it counts that it was asked.
    monkeypatch.setattr(app.state.services.dispatching.book, "sweep", sweep)
    changes = [
        await client.post("/v1/agents", json=TUTOR),
        await client.patch("/v1/agents/tutor", json={"tool_policy": {"default": "block"}}),
        await client.delete("/v1/agents/tutor"),
    ]
    await app.state.services.background.settle(5)

    assert [answer.status_code for answer in changes] == [201, 200, 204]
    assert swept == ["swept"] * 3
