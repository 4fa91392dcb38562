"""Start times, deadlines and priorities in a start body."""

from typing import Any

import httpx2
import pytest

from api.app import create_app
from tests.fakes.clock import NOW
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect

LATER = "2027-01-01T00:00:00+01:00"
LATER_MS = 1_798_758_000_000


@pytest.fixture
def client(world: World, connect: Connect) -> httpx2.AsyncClient:
    world.clock.now = LATER_MS - 10_000_000
    return connect(create_app(world.ports(), fake_config()))


@pytest.mark.parametrize(
    ("body", "start_at", "deadline_at"),
    [
        ({"deadline": LATER}, None, LATER_MS),
        ({"deadline": 1.5}, None, LATER_MS - 10_000_000 + 1500),
        ({"deadline": 60}, None, LATER_MS - 10_000_000 + 60_000),
        ({"start_at": LATER}, LATER_MS, None),
        ({"start_delay": 60}, LATER_MS - 10_000_000 + 60_000, None),
        ({"start_delay": 0}, None, None),
        ({"start_at": "2020-01-01T00:00:00Z"}, None, None),
        ({"start_delay": 5, "on_busy": "enqueue"}, LATER_MS - 10_000_000 + 5000, None),
    ],
)
async def test_times_are_kept_as_moments(
    client: httpx2.AsyncClient,
    world: World,
    body: dict[str, Any],
    start_at: int | None,
    deadline_at: int | None,
) -> None:
    answer = await client.post("/v1/runs", json={"input": "x", **body})

    assert answer.status_code == 202, answer.text
    new = world.runs.accepted[-1]
    assert (new.start_at, new.deadline_at) == (start_at, deadline_at)
    assert (answer.json()["start_at"] is None) == (start_at is None)
    if deadline_at == LATER_MS:
        assert answer.json()["deadline"] == "2026-12-31T23:00:00.000Z"


@pytest.mark.parametrize(
    "body",
    [
        {"deadline": 0},
        {"deadline": -5},
        {"deadline": True},
        {"deadline": "60"},
        {"deadline": "1798758000"},
        {"deadline": "2027-01-01T00:00:00"},
        {"deadline": "tomorrow-ish"},
        {"deadline": 1e12},
        {"deadline": [1]},
        {"start_at": 60},
        {"start_at": "2027-01-01"},
        {"start_at": "2999-01-01T00:00:00Z"},
        {"start_delay": -1},
        {"start_delay": "5"},
        {"start_delay": 1e12},
        {"start_delay": 5, "start_at": LATER},
        {"start_delay": 5, "on_busy": "reject"},
        {"priority": 0},
        {"priority": 6},
        {"priority": "1"},
    ],
)
async def test_times_that_make_no_sense_are_refused(
    client: httpx2.AsyncClient, world: World, body: dict[str, Any]
) -> None:
    answer = await client.post("/v1/runs", json={"input": "x", **body})

    assert answer.status_code == 422, answer.text
    assert world.runs.accepted == []


async def test_a_deadline_of_a_fork_counts_from_its_request(
    client: httpx2.AsyncClient, world: World
) -> None:
    first = (await client.post("/v1/runs", json={"input": "x", "deadline": 5})).json()
    world.clock.now = NOW

    await client.post(f"/v1/runs/{first['run_id']}/fork", json={"from_turn": 0, "deadline": 60})
    with_one = world.runs.accepted[-1].deadline_at
    await client.post(f"/v1/runs/{first['run_id']}/fork", json={"from_turn": 0})

    assert with_one == NOW + 60_000
    assert world.runs.accepted[-1].deadline_at is None
