"""How streams end that nobody reads, and all of them when the process stops (faults 27, 28)."""

import asyncio
from typing import Any

from api.app import create_app, drain
from domain.event import EventType
from tests.fakes.world import World, fake_config
from tests.rig.serving import Reader, serving
from tests.unit.api.stream_scenes import app_of, start_run, watch_and_take_nothing


async def test_a_reader_that_leaves_is_forgotten(world: World) -> None:
    world.gateway.mode = "hold"
    async with serving(app_of(world)) as address:
        run_id = await start_run(address, world)
        answer = await Reader.stream(address, f"/v1/runs/{run_id}/events")
        await answer.take(1)
        assert world.events.followers == 1

        answer.close()
        async with asyncio.timeout(2):
            while world.events.followers:
                await asyncio.sleep(0.005)


async def test_readers_that_take_nothing_are_cut_and_cost_bounded_memory(world: World) -> None:
    """Fault 27: the buffer is capped, the reader is cut and can resume, others are not delayed."""
    world.gateway.mode = "hold"
    app = app_of(world, stall_seconds=1.0, ping_seconds=0.1)
    keeper = app.state.services.keeper
    async with serving(app) as address:
        run_id = await start_run(address, world)
        stuck = [await watch_and_take_nothing(address, run_id) for _ in range(20)]
        healthy = await Reader.stream(address, f"/v1/runs/{run_id}/events")
        for _ in range(400):
            world.runs.emit(run_id, EventType.AGENT_STREAM_DELTA, {"text": "x" * 20_000})
        frames = await asyncio.wait_for(healthy.take(402), 5)
        async with asyncio.timeout(5):
            while len(keeper._streams) > 1:
                await asyncio.sleep(0.02)
        world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})
        rest = await healthy.all()
        resumed = await Reader.stream(address, f"/v1/runs/{run_id}/events", 400)
        for sock in stuck:
            sock.close()
        assert [frame.id for frame in await resumed.all()] == [401, 402, 403]

    assert [frame.id for frame in frames + rest] == list(range(1, 404))
    metrics = app.state.services.metrics.registry
    assert metrics.get_sample_value("orchestrator_sse_cut_total", {"reason": "stalled"}) == 20


async def test_a_shutdown_ends_every_stream_with_a_notice_that_has_no_id(world: World) -> None:
    """Fault 28: the stream ends orderly, fast, and its reader may resume elsewhere."""
    world.gateway.mode = "hold"
    app = app_of(world)
    async with serving(app) as address:
        run_id = await start_run(address, world)
        answers = [await Reader.stream(address, f"/v1/runs/{run_id}/events") for _ in range(100)]
        for answer in answers:
            await answer.take(2)

        async with asyncio.timeout(30):  # each ends by itself, long before it would be cut
            await drain(app, 60)

        for answer in answers:
            frames = await answer.all()
            assert [(frame.id, frame.event) for frame in frames] == [(None, "shutdown")]
        refused = await Reader.request(address, "/v1/runs")
        probe = await Reader.request(address, "/livez")
    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"
    assert probe.status == 200


async def test_a_shutdown_does_not_wait_for_readers_that_are_stuck(world: World) -> None:
    """Fault 28: bounded, whoever reads."""
    world.gateway.mode = "hold"
    app = app_of(world)
    async with serving(app) as address:
        run_id = await start_run(address, world)
        sock = await watch_and_take_nothing(address, run_id)
        for _ in range(400):
            world.runs.emit(run_id, EventType.AGENT_STREAM_DELTA, {"text": "x" * 20_000})
        await asyncio.sleep(0.2)

        async with asyncio.timeout(10):
            await drain(app, 0.3)
        sock.close()


async def test_a_stream_that_begins_as_the_process_stops_ends_at_once(world: World) -> None:
    """A start was accepted just before: its stream opens just after."""
    app = app_of(world)
    world.gateway.mode = "hold"
    keeper = app.state.services.keeper
    whole = world.runs.accept

    async def slow(new: Any) -> Any:
        keeper.is_draining = True
        return await whole(new)

    world.runs.accept = slow  # type: ignore[method-assign]
    async with serving(app) as address:
        answer = await Reader.request(
            address,
            "/v1/runs",
            method="POST",
            headers={"content-type": "application/json", "accept": "text/event-stream"},
            body=b'{"input":"hi"}',
        )
        frames = await asyncio.wait_for(answer.all(), 2)

    assert [frame.event for frame in frames] == ["shutdown"]
    assert world.events.followers == 0


async def test_a_reader_whose_own_body_never_ends_is_just_gone(world: World) -> None:
    app = create_app(world.ports(), fake_config(body_seconds=0.1))
    world.gateway.mode = "hold"
    async with serving(app) as address:
        run_id = await start_run(address, world)
        _, writer = await asyncio.open_connection(*address)
        writer.write(
            f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n"
            "accept: text/event-stream\r\n\r\n".encode()
        )
        async with asyncio.timeout(2):
            while not world.events.followers:
                await asyncio.sleep(0.005)
            while world.events.followers:
                await asyncio.sleep(0.005)
        writer.transport.abort()
