"""Runs and their events as they are read over HTTP: in pages, by filters, as a stream or not."""

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from domain.event import EventType
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect


async def test_lists_come_in_pages_with_the_newest_first_and_can_be_filtered(
    client: httpx2.AsyncClient, world: World
) -> None:
    for number in range(5):
        await client.post("/v1/runs?wait=5", json={"input": "x", "session_id": f"s{number}"})
    world.gateway.mode = "hold"
    await client.post("/v1/runs", json={"input": "x"})

    first = (await client.get("/v1/runs?limit=4")).json()
    second = (await client.get(f"/v1/runs?limit=4&cursor={first['next_cursor']}")).json()
    done = (await client.get("/v1/runs?state=DONE&session_id=s2")).json()

    assert first["has_more"] is True
    assert second["has_more"] is False
    assert second["next_cursor"] is None
    ids = [run["run_id"] for run in first["runs"] + second["runs"]]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 6
    assert [run["session_id"] for run in done["runs"]] == ["s2"]


async def test_a_page_of_events_leads_to_the_next(client: httpx2.AsyncClient, world: World) -> None:
    run_id = (await client.post("/v1/runs?wait=5", json={"input": "x"})).json()["run_id"]
    path = f"/v1/runs/{run_id}/events"

    first = (await client.get(f"{path}?limit=4")).json()
    by_cursor = (await client.get(f"{path}?cursor={first['next_cursor']}")).json()
    by_seq = (await client.get(f"{path}?after_seq={first['next_cursor']}")).json()
    empty = (await client.get(f"{path}?after_seq=99")).json()

    assert [event["seq"] for event in first["events"]] == [1, 2, 3, 4]
    assert first["has_more"] is True
    assert by_cursor == by_seq
    assert [event["seq"] for event in by_seq["events"]] == [5, 6]
    assert empty == {"events": [], "has_more": False, "next_cursor": None}


async def test_seed_bs_time_cursor_gives_what_is_later(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.gateway.mode = "hold"
    run_id = (await client.post("/v1/runs", json={"input": "x"})).json()["run_id"]
    start = world.clock.now
    for _ in range(3):
        world.clock.now += 10
        world.runs.emit(run_id, EventType.AGENT_STREAM_DELTA, {"text": '"ts":1,'})
    world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})
    path = f"/v1/runs/{run_id}/events"

    later = (await client.get(f"{path}?after_ts={start + 10}")).json()
    none = (await client.get(f"{path}?after_ts={start + 99}")).json()
    stream = await client.get(
        f"{path}?after_ts={start + 20}", headers={"accept": "text/event-stream"}
    )

    assert [event["seq"] for event in later["events"]] == [4, 5, 6]
    assert none["events"] == []
    assert stream.text.count("id: ") == 2


async def test_the_access_log_names_the_run_and_forges_no_line(
    client: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Attack 30: control characters and marks of direction are escaped."""
    caplog.set_level("INFO", logger="api.requests")
    run_id = (await client.post("/v1/runs", json={"input": "x"})).json()["run_id"]
    await client.get(f"/v1/runs/{run_id}")
    await client.get("/v1/%0d%0aevil%1b[31m%e2%80%aegnp")

    lines = [record.getMessage() for record in caplog.records]
    assert caplog.records[0].__dict__["run_id"] == run_id
    assert caplog.records[1].__dict__["run_id"] == run_id
    assert lines[2] == r"GET /v1/\u000d\u000aevil\u001b[31m\u202egnp 404"
    assert all("\n" not in line and "\x1b" not in line for line in lines)


async def test_text_of_every_script_comes_back_as_it_went(
    app: FastAPI, connect: Connect, world: World
) -> None:
    text = 'naïve 🚀 \u2028 שלום \t \\ " line\nbreak'
    client = connect(create_app(world.ports(), fake_config()))

    run = (await client.post("/v1/runs?wait=5", json={"input": text})).json()
    events = (await client.get(f"/v1/runs/{run['run_id']}/events")).json()["events"]
    messages = (await client.get(f"/v1/sessions/{run['session_id']}/messages")).json()

    assert events[0]["data"]["content"] == text
    assert messages["messages"][0]["content"] == text


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream; charset=utf-8", True),
        ("application/json, text/event-stream", True),
        ("text/event-stream, */*;q=0.5", True),
        ("text/event-stream;q=0.5, application/json;q=0.4", True),
        ("text/event-stream;q=0.1, application/json", False),
        ("text/event-stream;q=0.1, */*", False),
        ("text/event-stream; q=0", False),
        ("application/json;q=0.9, text/event-stream;q=0.2, */*;q=0.1", False),
        ("text/event-stream;q=x", True),
        ("*/*", False),
        ("text/*", False),
        ("", False),
    ],
)
async def test_a_stream_is_sent_to_those_who_prefer_it(
    client: httpx2.AsyncClient, accept: str, is_stream: bool
) -> None:
    run = (await client.post("/v1/runs?wait=5", json={"input": "x"})).json()

    answer = await client.get(run["links"]["events"], headers={"accept": accept})

    expected = "text/event-stream" if is_stream else "application/json"
    assert answer.headers["content-type"].partition(";")[0] == expected
