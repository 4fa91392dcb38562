"""Schedules over HTTP: what is taken, what is shown, and what is refused."""

import asyncio
import json
from typing import Any

import httpx2
import pytest

from api.app import create_app
from domain.errors import InvalidRequestError
from domain.principal import Scope
from domain.schedule import Overlap
from domain.scheduling import Scheduling
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect

RUN = {"input": "What happened?", "agent_id": "assistant"}
DAILY = {"cron": ["30 7 * * *"], "timezone": "Europe/Berlin"}
BODY: dict[str, Any] = {"schedule_id": "report", "run": RUN, "spec": DAILY}


async def made(client: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/schedules", json={**BODY, **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    await asyncio.sleep(0)
    return found


async def test_a_schedule_is_made_and_the_engine_is_told(
    client: httpx2.AsyncClient, world: World
) -> None:
    schedule = await made(client, policy={"overlap": "buffer_one"}, note="for ann")
    assert (schedule["applied"], len(schedule["next_runs"])) == (True, 1)

    assert schedule["run"] == RUN
    assert schedule["policy"]["overlap"] == "buffer_one"
    assert schedule["policy"]["catchup_window_seconds"] == 600
    (told,) = world.scheduler.schedules.values()
    assert (told.schedule_id, told.note, told.owner) == ("report", "for ann", "local")
    shown = (await client.get("/v1/schedules/report")).json()
    assert shown["applied"]
    assert len(shown["next_runs"]) == 1
    assert (await client.get("/v1/schedules")).json()["schedules"] == [shown]


async def test_an_id_is_chosen_if_none_is_given(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/schedules", json={"run": RUN, "spec": DAILY})

    schedule_id = answer.json()["schedule_id"]
    assert answer.headers["location"] == f"/v1/schedules/{schedule_id}"
    assert (await client.get(answer.headers["location"])).status_code == 200


async def test_an_id_is_taken_once(client: httpx2.AsyncClient) -> None:
    await made(client)

    again = await client.post("/v1/schedules", json=BODY)

    assert (again.status_code, again.json()["code"]) == (409, "conflict")


async def test_the_engine_may_be_away(client: httpx2.AsyncClient, world: World) -> None:
    world.scheduler.is_away = True

    await made(client)

    shown = (await client.get("/v1/schedules/report")).json()
    assert (shown["applied"], shown["next_runs"]) == (False, None)
    refused = await client.post("/v1/schedules/report/trigger")
    assert (refused.status_code, refused.json()["code"]) == (503, "engine_unavailable")
    world.scheduler.is_away = False
    assert await Scheduling(world.schedules, world.scheduler).mend() == 1
    assert (await client.get("/v1/schedules/report")).json()["applied"]


async def test_a_change_is_a_new_revision(client: httpx2.AsyncClient, world: World) -> None:
    await made(client)

    changes = {"spec": {"intervals": [{"every_seconds": 60}]}, "run": {"input": "And now?"}}
    answer = await client.patch("/v1/schedules/report", json=changes)
    await asyncio.sleep(0)

    assert answer.status_code == 200, answer.text
    assert answer.json()["run"] == {"input": "And now?"}
    (told,) = world.scheduler.schedules.values()
    assert told.revision == 2
    assert told.spec.intervals[0].every_seconds == 60
    assert json.loads(told.ask)["content"] == "And now?"


async def test_pause_and_resume_with_a_note(client: httpx2.AsyncClient, world: World) -> None:
    await made(client)

    paused = (await client.post("/v1/schedules/report/pause", json={"note": "holiday"})).json()
    await asyncio.sleep(0)
    assert (paused["paused"], paused["note"]) == (True, "holiday")
    (told,) = world.scheduler.schedules.values()
    assert told.paused

    resumed = (await client.post("/v1/schedules/report/resume")).json()
    assert (resumed["paused"], resumed["note"]) == (False, "")


async def test_triggers_and_backfills_reach_the_engine(
    client: httpx2.AsyncClient, world: World
) -> None:
    await made(client)
    span = {"start_at": "2025-11-19T00:00:00Z", "end_at": "2025-11-19T12:00:00+01:00"}

    first = await client.post("/v1/schedules/report/trigger")
    second = await client.post("/v1/schedules/report/trigger", json={"overlap": "allow_all"})
    third = await client.post("/v1/schedules/report/backfill", json=span)

    assert [one.status_code for one in (first, second, third)] == [202, 202, 202]
    assert world.scheduler.fired == [
        ("trigger", "report", Overlap.SKIP),
        ("trigger", "report", Overlap.ALLOW_ALL),
        ("backfill", 1_763_510_400_000, 1_763_550_000_000, Overlap.BUFFER_ALL),
    ]


async def test_a_span_is_in_the_past_and_in_order(client: httpx2.AsyncClient) -> None:
    await made(client)

    for start, end in (("2025-02-01", "2025-01-01"), ("2025-01-01", "2099-01-01")):
        span = {"start_at": f"{start}T00:00:00Z", "end_at": f"{end}T00:00:00Z"}
        refused = await client.post("/v1/schedules/report/backfill", json=span)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")


async def test_a_span_of_a_million_times_is_a_slip_of_the_pen(
    client: httpx2.AsyncClient, world: World
) -> None:
    await made(client, spec={"intervals": [{"every_seconds": 2}]})
    span = {"start_at": "2020-01-01T00:00:00Z", "end_at": "2025-01-01T00:00:00Z"}

    refused = await client.post("/v1/schedules/report/backfill", json=span)

    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert "78926401 times" in refused.json()["detail"]
    assert world.scheduler.fired == []


async def test_firings_are_listed(client: httpx2.AsyncClient, world: World) -> None:
    await world.furnish()
    world.keys.by_digest.clear()

    (firing,) = (await client.get("/v1/schedules/morning-report/firings")).json()["firings"]

    assert (firing["run_id"], firing["state"], firing["error"]) == ("run_01k9", "DONE", None)
    shown = (await client.get("/v1/schedules/morning-report")).json()
    assert shown["recent_runs"] == [firing]


async def test_a_deleted_schedule_is_gone(client: httpx2.AsyncClient, world: World) -> None:
    await made(client)

    assert (await client.delete("/v1/schedules/report")).status_code == 204
    await asyncio.sleep(0)

    assert world.scheduler.schedules == {}
    assert (await client.get("/v1/schedules/report")).status_code == 404
    assert (await client.delete("/v1/schedules/report")).status_code == 404
    await made(client)


async def test_what_the_engine_refuses_keeps_no_other_from_it(
    client: httpx2.AsyncClient, world: World
) -> None:
    await made(client)
    world.scheduler.schedules.clear()
    world.scheduler.refuses = InvalidRequestError("not that")

    assert await Scheduling(world.schedules, world.scheduler).mend() == 0
    assert not (await client.get("/v1/schedules/report")).json()["applied"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"spec": {}},
        {"spec": {"cron": ["61 * * * *"]}},
        {"spec": {**DAILY, "timezone": "Mars/Olympus"}},
        {"spec": {**DAILY, "timezone": "../etc"}},
        {"spec": {"intervals": [{"every_seconds": "60"}]}},
        {"policy": {"overlap": "sometimes"}},
        {"policy": {"catchup_window_seconds": 1}},
        {"run": {"input": " "}},
        {"run": {}},
        {"run": {**RUN, "on_busy": "steer?"}},
        {"run": {**RUN, "deadline": "2027-01-01T00:00:00Z"}},
        {"schedule_id": "a b"},
        {"paused": "yes"},
        {"unknown": 1},
        {"note": None},
    ],
)
async def test_what_cannot_be_is_refused(client: httpx2.AsyncClient, wrong: Any) -> None:
    refused = await client.post("/v1/schedules", json={**BODY, **wrong})

    assert refused.status_code == 422, refused.text
    assert (await client.get("/v1/schedules")).json()["schedules"] == []


async def test_an_agent_that_is_not_there_is_noticed_at_once(client: httpx2.AsyncClient) -> None:
    refused = await client.post("/v1/schedules", json={**BODY, "run": {**RUN, "agent_id": "x"}})

    assert refused.status_code == 404


async def test_schedules_of_others_are_not_there(world: World, connect: Connect) -> None:
    app = create_app(world.ports(), fake_config())
    ann = connect(app, world.add_key(Scope.INVOKE, Scope.READ, owner="ann"))
    bob = connect(app, world.add_key(Scope.INVOKE, Scope.READ, owner="bob"))
    await made(ann)

    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"note": "mine"}),
        ("DELETE", "", None),
        ("GET", "/firings", None),
        ("POST", "/pause", {}),
        ("POST", "/resume", {}),
        ("POST", "/trigger", {}),
        (
            "POST",
            "/backfill",
            {"start_at": "2025-01-01T00:00:00Z", "end_at": "2025-01-02T00:00:00Z"},
        ),
    ):
        answer = await bob.request(method, f"/v1/schedules/report{path}", json=body)
        assert answer.status_code == 404, (method, path)
    assert (await bob.get("/v1/schedules")).json()["schedules"] == []
    await made(bob)
    assert world.scheduler.fired == []
