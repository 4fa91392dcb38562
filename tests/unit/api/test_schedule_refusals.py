"""What is wrong with a schedule is said at once, where it stands and in words of JSON."""

from typing import Any

import httpx2
import pytest

from domain.errors import InvalidRequestError
from domain.schedule import Overlap
from tests.fakes.clock import NOW
from tests.fakes.world import World

RUN = {"input": "What happened?", "agent_id": "assistant"}
DAILY: dict[str, Any] = {"cron": ["30 7 * * *"], "timezone": "Europe/Berlin"}
BODY: dict[str, Any] = {"schedule_id": "report", "run": RUN, "spec": DAILY}


async def mistake(client: httpx2.AsyncClient, **fields: Any) -> dict[str, str]:
    """Send a schedule with one mistake, and return what is said of it."""
    refused = await client.post("/v1/schedules", json={**BODY, **fields})
    assert refused.status_code == 422, refused.text
    said: dict[str, str] = refused.json()["errors"][0]
    return said


@pytest.mark.parametrize(
    ("spec", "place", "word"),
    [
        ({"cron": "@daily"}, "body.spec.cron", "send a list"),
        ({"cron": ["@daily", "61 * * * *"]}, "body.spec.cron.1", "minute '61'"),
        ({"cron": ["@daily"] * 21}, "body.spec.cron", "at most 20 items"),
        ({"intervals": [5]}, "body.spec.intervals.0", "send an object"),
        ({"calendars": {"hour": "9"}}, "body.spec.calendars", "send a list"),
        ({"calendars": [{"year": "2101"}]}, "body.spec.calendars.0", "2000 to 2100"),
        ("@daily", "body.spec", "send an object"),
        (
            {**DAILY, "start_at": "0001-01-01T00:00:00+14:00"},
            "body.spec.start_at",
            "2000 to 2100",
        ),
    ],
)
async def test_a_mistake_is_named_by_its_place_and_without_types(
    client: httpx2.AsyncClient, spec: Any, place: str, word: str
) -> None:
    said = await mistake(client, spec=spec)

    assert said["field"] == place
    assert word in said["message"]


async def test_a_list_of_scopes_has_an_end_too(client: httpx2.AsyncClient) -> None:
    refused = await client.post("/v1/keys", json={"name": "ci", "scopes": []})

    assert "at least 1 items" in refused.json()["errors"][0]["message"]


@pytest.mark.parametrize("verb", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ({**DAILY, "end_at": "2025-01-01T00:00:00Z"}, "would never fire"),
        ({"calendars": [{"year": "2001"}]}, "would never fire"),
        ({**DAILY, "skip": [{}]}, "skip leaves out every time"),
    ],
)
async def test_what_would_never_fire_is_refused(
    client: httpx2.AsyncClient, verb: str, spec: Any, word: str
) -> None:
    url, body = "/v1/schedules", {**BODY, "spec": spec}
    if verb == "PATCH":
        await client.post(url, json=BODY)
        url, body = f"{url}/report", {"spec": spec}

    refused = await client.request(verb, url, json=body)

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert word in refused.json()["detail"]


async def test_a_paused_one_may_be_over(client: httpx2.AsyncClient) -> None:
    over = {**DAILY, "end_at": "2025-01-01T00:00:00Z"}

    made = await client.post("/v1/schedules", json={**BODY, "spec": over, "paused": True})
    changed = await client.patch("/v1/schedules/report", json={"spec": over})

    assert (made.status_code, changed.status_code) == (201, 200)


async def test_what_the_engine_refuses_is_answered_with_its_reason(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.scheduler.refuses = InvalidRequestError("Temporal does not take it: odd")

    refused = await client.post("/v1/schedules", json=BODY)

    assert refused.status_code == 422
    assert refused.json()["detail"] == "Temporal does not take it: odd"
    assert (await client.get("/v1/schedules/report")).status_code == 404


async def test_a_change_that_the_engine_refuses_changes_nothing(
    client: httpx2.AsyncClient, world: World
) -> None:
    await client.post("/v1/schedules", json=BODY)
    before = (await client.get("/v1/schedules/report")).json()
    world.scheduler.refuses = InvalidRequestError("Temporal does not take it: odd")

    refused = await client.patch("/v1/schedules/report", json={"spec": {"cron": ["@hourly"]}})

    assert refused.status_code == 422
    assert refused.json()["detail"] == "Temporal does not take it: odd"
    assert (await client.get("/v1/schedules/report")).json() == before


async def test_a_trigger_is_repeated_without_a_second_firing(
    client: httpx2.AsyncClient, world: World
) -> None:
    await client.post("/v1/schedules", json=BODY)
    headers = {"idempotency-key": "k1"}

    first = await client.post("/v1/schedules/report/trigger", headers=headers)
    again = await client.post("/v1/schedules/report/trigger", headers=headers, json={})
    other = await client.post(
        "/v1/schedules/report/trigger", headers=headers, json={"overlap": "allow_all"}
    )

    assert (first.status_code, again.status_code) == (202, 202)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_conflict")
    assert world.scheduler.fired == [("trigger", "report", Overlap.SKIP, NOW)]


async def test_a_backfill_says_how_many_times_it_makes_up_for(
    client: httpx2.AsyncClient, world: World
) -> None:
    await client.post(
        "/v1/schedules", json={**BODY, "spec": {"intervals": [{"every_seconds": 300}]}}
    )
    span = {"start_at": "2025-11-19T00:00:00Z", "end_at": "2025-11-19T06:00:00Z"}

    answer = await client.post("/v1/schedules/report/backfill", json=span)

    assert answer.json()["times"] == 73
    assert world.scheduler.fired[0][-1] is Overlap.BUFFER_ALL


async def test_a_span_lies_in_years_that_the_engine_knows(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/schedules", json=BODY)
    span = {"start_at": "0001-01-01T00:00:00+14:00", "end_at": "2025-11-19T06:00:00Z"}

    refused = await client.post("/v1/schedules/report/backfill", json=span)

    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["field"] == "body.start_at"


async def test_what_a_deleted_schedule_has_started_stays_readable(
    client: httpx2.AsyncClient, world: World
) -> None:
    await world.furnish()
    world.keys.by_digest.clear()
    before = (await client.get("/v1/schedules/morning-report/firings")).json()

    await client.delete("/v1/schedules/morning-report")

    assert (await client.get("/v1/schedules/morning-report")).status_code == 404
    assert (await client.get("/v1/schedules/morning-report/firings")).json() == before
    assert (await client.get("/v1/schedules/nobody/firings")).status_code == 404
