"""Runs over HTTP."""

import asyncio

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app, drain
from domain.agent import Limits
from domain.event import EventType
from domain.run import RunState
from tests.fakes.world import World, fake_config
from tests.unit.api.conftest import Connect


async def test_a_start_answers_202_with_the_run_and_its_address(
    client: httpx2.AsyncClient, world: World
) -> None:
    answer = await client.post("/v1/runs", json={"input": "hi", "metadata": {"a": 1}})

    run = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/runs/{run['run_id']}"
    assert run["state"] == "CREATED"
    assert run["metadata"] == {"a": 1}
    assert run["links"]["events"] == f"/v1/runs/{run['run_id']}/events"


async def test_a_message_object_is_as_good_as_a_text(
    client: httpx2.AsyncClient, world: World
) -> None:
    await client.post("/v1/runs", json={"input": {"role": "user", "content": "hi"}})

    assert world.runs.accepted[0].content == "hi"


async def test_everything_that_is_asked_reaches_the_run(
    client: httpx2.AsyncClient, world: World
) -> None:
    body = {
        "input": "hi",
        "agent_id": "assistant",
        "session_id": "chat-1",
        "on_busy": "reject",
        "context": {"page": 3},
        "limits": {"max_turns": 2, "max_cost_usd": "5", "max_tokens": 9},
        "priority": 5,
    }

    await client.post("/v1/runs", json=body)

    new = world.runs.accepted[0]
    assert (new.agent_id, new.session_id, new.on_busy, new.priority) == (
        "assistant",
        "chat-1",
        "reject",
        5,
    )
    assert new.spec.context == {"page": 3}
    assert new.spec.limits == Limits(max_turns=2, max_cost_usd="1.00", max_tokens=9)
    assert new.route is None


async def test_waiting_gives_200_when_the_run_ended_in_time(client: httpx2.AsyncClient) -> None:
    answer = await client.post("/v1/runs?wait=5", json={"input": "hi"})

    assert answer.status_code == 200
    assert answer.json()["state"] == "DONE"
    assert answer.json()["output"] == {"role": "assistant", "content": "Hello"}


async def test_waiting_gives_202_when_it_did_not(client: httpx2.AsyncClient, world: World) -> None:
    world.gateway.mode = "hold"

    answer = await client.post("/v1/runs?wait=0.05", json={"input": "hi"})

    assert answer.status_code == 202
    assert answer.json()["state"] == "CREATED"
    assert world.events.followers == 0


async def test_waiting_for_a_run_that_ended_long_ago_gives_it_at_once(
    client: httpx2.AsyncClient, world: World
) -> None:
    headers = {"idempotency-key": "k"}
    await client.post("/v1/runs?wait=5", json={"input": "x"}, headers=headers)

    again = await client.post("/v1/runs?wait=5", json={"input": "x"}, headers=headers)

    assert again.status_code == 200
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_shutdown_lets_waiting_callers_go_with_what_there_is(
    app: FastAPI, client: httpx2.AsyncClient, world: World
) -> None:
    world.gateway.mode = "hold"
    waiting = asyncio.ensure_future(client.post("/v1/runs?wait=60", json={"input": "hi"}))
    while not world.gateway.started:
        await asyncio.sleep(0)

    await drain(app, 1)

    assert (await waiting).status_code == 202


async def test_an_accepted_run_is_accepted_whatever_the_engine_does(
    client: httpx2.AsyncClient, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Fault 5: 202, and the run stays CREATED for the reconciler."""
    world.gateway.mode = "down"

    answer = await client.post("/v1/runs", json={"input": "hi"})
    await asyncio.sleep(0.01)

    run_id = answer.json()["run_id"]
    assert answer.status_code == 202
    assert world.runs.runs[run_id].state is RunState.CREATED
    (record,) = [item for item in caplog.records if item.levelname == "WARNING"]
    assert record.__dict__["run_id"] == run_id


async def test_a_bug_behind_the_answer_is_logged(
    client: httpx2.AsyncClient, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("bug")

    world.gateway.start = broken  # type: ignore[method-assign]

    answer = await client.post("/v1/runs", json={"input": "hi"})
    await asyncio.sleep(0.01)

    assert answer.status_code == 202
    assert "work behind an answer failed" in caplog.text


async def test_the_same_key_and_body_is_the_same_run(
    client: httpx2.AsyncClient, world: World
) -> None:
    """Fault 11: key order and blanks of the JSON do not matter."""
    headers = {"idempotency-key": "k1", "content-type": "application/json"}

    first = await client.post("/v1/runs", content=b'{"input":"x","priority":2}', headers=headers)
    again = await client.post(
        "/v1/runs", content=b'{ "priority": 2, "input": "x" }', headers=headers
    )

    assert first.json()["run_id"] == again.json()["run_id"]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert len(world.runs.accepted) == 1


async def test_a_stream_asked_for_again_is_the_same_runs_from_its_first_event(
    client: httpx2.AsyncClient, world: World
) -> None:
    headers = {"idempotency-key": "k1", "accept": "text/event-stream"}

    first = await client.post("/v1/runs", json={"input": "x"}, headers=headers)
    again = await client.post("/v1/runs", json={"input": "x"}, headers=headers)

    assert again.headers["idempotency-replayed"] == "true"
    assert again.text == first.text
    assert world.events.followers == 0


async def test_the_same_key_with_another_body_is_a_conflict(
    client: httpx2.AsyncClient, world: World
) -> None:
    headers = {"idempotency-key": "k1"}
    await client.post("/v1/runs", json={"input": "x"}, headers=headers)

    for accept in ("application/json", "text/event-stream"):
        answer = await client.post(
            "/v1/runs", json={"input": "y"}, headers={**headers, "accept": accept}
        )
        assert answer.status_code == 409
        assert answer.json()["code"] == "idempotency_key_conflict"
    assert world.events.followers == 0


async def test_a_key_counts_per_session(client: httpx2.AsyncClient, world: World) -> None:
    for session in ("a", "b"):
        await client.post(
            "/v1/runs",
            json={"input": "x", "session_id": session},
            headers={"idempotency-key": "k1"},
        )

    assert len(world.runs.accepted) == 2


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "é", "a\tb"])
async def test_a_key_that_is_none_is_refused(client: httpx2.AsyncClient, key: str) -> None:
    headers = [(b"idempotency-key", key.encode("latin-1"))]

    answer = await client.post("/v1/runs", json={"input": "x"}, headers=headers)

    assert answer.status_code == 422


async def test_a_busy_session_queues_or_refuses(client: httpx2.AsyncClient, world: World) -> None:
    world.gateway.mode = "hold"
    body = {"input": "x", "session_id": "s"}
    first = await client.post("/v1/runs", json=body)

    second = await client.post("/v1/runs", json=body)
    third = await client.post("/v1/runs", json={**body, "on_busy": "reject"})

    session = (await client.get("/v1/sessions/s")).json()
    assert session["active_run_id"] == first.json()["run_id"]
    assert session["queued_run_ids"] == [second.json()["run_id"]]
    assert third.status_code == 409
    assert third.json()["code"] == "session_busy"


async def test_without_an_agent_the_best_description_is_chosen_and_the_reason_told(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.add_agent("cook", description="recipes, cooking and baking bread")
    world.add_agent("tutor", description="explains mathematics and algebra")
    world.add_agent("retired", description="algebra algebra algebra", status="retired")

    run = (await client.post("/v1/runs?wait=5", json={"input": "help with algebra"})).json()
    events = (await client.get(f"/v1/runs/{run['run_id']}/events?types=route_decided")).json()

    (event,) = events["events"]
    assert run["agent_id"] == "tutor"
    assert event["data"]["agent_id"] == "tutor"
    assert event["data"]["scores"]["tutor"] > event["data"]["scores"].get("cook", 0)
    assert event["data"]["reason"]


async def test_without_an_agent_the_sessions_own_is_chosen(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.add_agent("cook")
    await client.post("/v1/sessions", json={"session_id": "s", "agent_id": "cook"})

    run = (await client.post("/v1/runs", json={"input": "hi", "session_id": "s"})).json()

    assert run["agent_id"] == "cook"
    assert world.runs.accepted[0].route == {
        "agent_id": "cook",
        "reason": "cook is the agent of session s",
        "scores": {},
    }


async def test_an_unknown_agent_and_no_agent_at_all_are_refused(
    client: httpx2.AsyncClient, world: World
) -> None:
    unknown = await client.post("/v1/runs", json={"input": "x", "agent_id": "nobody"})
    world.directory.agents.clear()
    none = await client.post("/v1/runs", json={"input": "x"})

    assert unknown.status_code == 404
    assert none.status_code == 422
    assert "POST /v1/agents" in none.json()["detail"]


async def test_cancelling_is_recorded_and_handed_on(
    client: httpx2.AsyncClient, world: World
) -> None:
    world.gateway.mode = "hold"
    run_id = (await client.post("/v1/runs", json={"input": "x"})).json()["run_id"]

    answer = await client.post(f"/v1/runs/{run_id}/cancel", json={"reason": "enough"})
    await asyncio.sleep(0.01)

    assert answer.status_code == 202
    assert world.gateway.cancelled == [run_id]
    assert world.runs.runs[run_id].metadata["reason"] == "enough"


async def test_cancelling_a_run_that_ended_changes_nothing(
    client: httpx2.AsyncClient, world: World
) -> None:
    run_id = (await client.post("/v1/runs?wait=5", json={"input": "x"})).json()["run_id"]

    answer = await client.post(f"/v1/runs/{run_id}/cancel")

    assert answer.status_code == 202
    assert answer.json()["state"] == "DONE"
    assert world.gateway.cancelled == []


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
