"""Times at the ends of the calendar: refused in a sentence, never a 500."""

from typing import Any

import httpx2
import pytest

from tests.fakes.world import World

FIRST = "0001-01-01T00:00:00+14:00"
LAST = "9999-12-31T23:59:59-14:00"


@pytest.mark.parametrize("field", ["start_at", "deadline"])
@pytest.mark.parametrize("moment", [FIRST, LAST])
async def test_a_run_names_times_that_utc_has(
    client: httpx2.AsyncClient, world: World, field: str, moment: str
) -> None:
    refused = await client.post("/v1/runs", json={"input": "x", field: moment})

    assert refused.status_code == 422, refused.text
    assert "years 1 to 9999" in refused.text
    assert world.runs.accepted == []


@pytest.mark.parametrize("verb", ["fork", "retry"])
async def test_a_new_run_of_an_old_one_does_too(client: httpx2.AsyncClient, verb: str) -> None:
    run_id = (await client.post("/v1/runs", json={"input": "x"})).json()["run_id"]

    refused = await client.post(f"/v1/runs/{run_id}/{verb}", json={"deadline": LAST})

    assert refused.status_code == 422, refused.text
    assert "years 1 to 9999" in refused.text


async def test_a_redrive_does_too(client: httpx2.AsyncClient, world: World) -> None:
    await world.furnish()
    world.keys.by_digest.clear()

    refused = await client.post("/v1/dead_letters/dl_01k9/redrive", json={"deadline": LAST})

    assert refused.status_code == 422, refused.text
    assert "years 1 to 9999" in refused.text


async def test_the_last_second_of_utc_is_a_deadline(
    client: httpx2.AsyncClient, world: World
) -> None:
    answer = await client.post("/v1/runs", json={"input": "x", "deadline": "9999-12-31T23:59:59Z"})

    assert answer.status_code == 202, answer.text
    assert answer.json()["deadline"] == "9999-12-31T23:59:59.000Z"


@pytest.mark.parametrize("moment", [FIRST, LAST])
async def test_a_key_expires_in_utc(client: httpx2.AsyncClient, moment: str) -> None:
    body: dict[str, Any] = {"name": "ci", "scopes": ["admin"], "expires_at": moment}

    refused = await client.post("/v1/keys", json=body)

    assert refused.status_code == 422, refused.text
    assert "years 1 to 9999" in refused.text
