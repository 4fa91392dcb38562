"""Server-sent events on a real socket: what is sent, and where a reader goes on."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from domain.errors import StoreUnavailableError
from domain.event import EventType
from tests.fakes.world import World
from tests.rig.serving import Reader, serving
from tests.unit.api.stream_scenes import Address, app_of, start_run

EVENTS = 9


@pytest.fixture
async def finished(world: World) -> AsyncIterator[tuple[Address, str]]:
    """A finished run of nine events on a server."""
    world.gateway.words = list("abcde")
    async with serving(app_of(world)) as address:
        run_id = await start_run(address, world)
        while not world.runs.runs[run_id].is_terminal:
            await asyncio.sleep(0.001)
        assert world.runs.runs[run_id].last_seq == EVENTS
        yield address, run_id


async def test_a_start_that_asks_for_a_stream_gets_every_event_in_the_same_response(
    world: World,
) -> None:
    async with serving(app_of(world)) as address:
        answer = await Reader.request(
            address,
            "/v1/runs",
            method="POST",
            headers={"content-type": "application/json", "accept": "text/event-stream"},
            body=b'{"input":"hi"}',
        )
        frames = await answer.all()

    run_id = json.loads(frames[0].data)["run_id"]
    assert answer.status == 200
    assert answer.headers["location"] == f"/v1/runs/{run_id}"
    assert [frame.id for frame in frames] == list(range(1, len(frames) + 1))
    assert frames[-1].event == "run_done"
    assert world.events.followers == 0


async def test_the_headers_keep_proxies_from_buffering_and_caching(
    finished: tuple[Address, str],
) -> None:
    address, run_id = finished

    answer = await Reader.stream(address, f"/v1/runs/{run_id}/events")
    await answer.all()

    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.retry == 2000


async def test_a_reader_that_drops_at_any_index_resumes_with_the_exact_rest(
    finished: tuple[Address, str],
) -> None:
    """Fault 26: no gap, no repeat, at every index."""
    address, run_id = finished
    target = f"/v1/runs/{run_id}/events"

    for index in range(1, EVENTS):
        first = await Reader.stream(address, target)
        seen = [frame.id for frame in await first.take(index)]
        first.close()
        second = await Reader.stream(address, target, last_event_id=index)
        seen += [frame.id for frame in await second.all()]
        assert seen == list(range(1, EVENTS + 1))


@pytest.mark.parametrize("by_header", [True, False])
@pytest.mark.parametrize("ahead_by", [1, 2, 500])
async def test_a_reader_ahead_of_a_live_run_gets_only_what_is_later_and_its_end(
    world: World, ahead_by: int, by_header: bool
) -> None:
    """Nothing up to the place that it named is sent; the stream ends with the run all the same."""
    world.gateway.mode = "hold"
    async with serving(app_of(world)) as address:
        run_id = await start_run(address, world)
        seen = world.runs.runs[run_id].last_seq
        start = seen + ahead_by
        query, header = ("", start) if by_header else (f"?after_seq={start}", None)
        ahead = await Reader.stream(address, f"/v1/runs/{run_id}/events{query}", header)

        world.runs.emit(run_id, EventType.RUN_STARTED)
        world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})
        frames = await asyncio.wait_for(ahead.all(), 5)

    assert [frame.id for frame in frames] == list(range(start + 1, seen + 3))


async def test_a_reader_that_drops_twice_before_any_new_event_loses_nothing(world: World) -> None:
    """Fault 26: also without an event between the two drops."""
    world.gateway.mode = "hold"
    async with serving(app_of(world)) as address:
        run_id = await start_run(address, world)
        target = f"/v1/runs/{run_id}/events"
        first = await Reader.stream(address, target)
        last = (await first.take(2))[-1].id
        first.close()
        for _ in range(2):
            again = await Reader.stream(address, target, last_event_id=last)
            again.close()
        third = await Reader.stream(address, target, last_event_id=last)

        world.runs.emit(run_id, EventType.RUN_STARTED)
        world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})
        frames = await third.all()

    assert [frame.id for frame in frames] == [3, 4]


async def test_the_header_of_a_reconnect_wins_over_the_urls_after_seq(
    finished: tuple[Address, str],
) -> None:
    address, run_id = finished

    answer = await Reader.stream(address, f"/v1/runs/{run_id}/events?after_seq=2", 6)

    assert [frame.id for frame in await answer.all()] == [7, 8, 9]


@pytest.mark.parametrize("beyond", [0, 5])
async def test_a_reconnect_after_the_terminal_event_gets_204(
    finished: tuple[Address, str], beyond: int
) -> None:
    address, run_id = finished

    answer = await Reader.stream(address, f"/v1/runs/{run_id}/events", EVENTS + beyond)

    assert answer.status == 204


@pytest.mark.parametrize("bad", ["x", "-1", "1.5", "9" * 40])
async def test_an_event_id_of_nobody_is_refused(finished: tuple[Address, str], bad: str) -> None:
    address, run_id = finished

    answer = await Reader.request(
        address,
        f"/v1/runs/{run_id}/events",
        headers={"accept": "text/event-stream", "last-event-id": bad},
    )

    assert answer.status == 400


async def test_a_filter_by_type_never_hides_the_terminal_event(
    finished: tuple[Address, str],
) -> None:
    address, run_id = finished

    answer = await Reader.stream(address, f"/v1/runs/{run_id}/events?types=agent_stream_delta")

    events = [frame.event for frame in await answer.all()]
    assert events == ["agent_stream_delta"] * 5 + ["run_done"]


async def test_a_quiet_stream_is_kept_alive_by_comments(world: World) -> None:
    world.gateway.mode = "hold"
    async with serving(app_of(world, ping_seconds=0.05)) as address:
        run_id = await start_run(address, world)
        answer = await Reader.stream(address, f"/v1/runs/{run_id}/events")
        await asyncio.sleep(0.2)
        world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})
        await answer.all()

    assert answer.comments.count("ping") >= 2


async def test_a_caller_holds_only_so_many_streams(world: World) -> None:
    """Attack 25."""
    world.gateway.mode = "hold"
    async with serving(app_of(world, most_per_caller=2)) as address:
        run_id = await start_run(address, world)
        target = f"/v1/runs/{run_id}/events"
        held = [await Reader.stream(address, target) for _ in range(2)]
        for answer in held:
            await answer.take(1)

        third = await Reader.stream(address, target)

        assert third.status == 429
        assert int(third.headers["retry-after"]) >= 1
        held[0].close()


async def test_the_log_is_followed_as_it_happens(world: World) -> None:
    async with serving(app_of(world)) as address:
        answer = await Reader.stream(address, "/v1/logs/stream?level=error")
        frames = await answer.all()

    (line,) = [json.loads(frame.data) for frame in frames]
    assert line["component"] == "store"
    assert line["message"] == "disk\nfull\x1b[31m"
    assert "\x1b" not in frames[0].data


async def test_a_stream_whose_store_fails_ends_and_its_reader_may_resume(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.gateway.mode = "hold"
    async with serving(app_of(world)) as address:
        run_id = await start_run(address, world)
        whole = world.events.read

        async def broken(*args: Any, **kwargs: Any) -> Any:
            raise StoreUnavailableError("the store is locked")

        answer = await Reader.stream(address, f"/v1/runs/{run_id}/events")
        await answer.take(2)
        world.events.read = broken  # type: ignore[method-assign]
        world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})
        assert await answer.all() == []
        world.events.read = whole  # type: ignore[method-assign]
        again = await Reader.stream(address, f"/v1/runs/{run_id}/events", 2)
        assert [frame.id for frame in await again.all()] == [3]

    assert "the store is locked" in caplog.text
