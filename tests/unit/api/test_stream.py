"""Server-sent events on a real socket."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.app import create_app, drain
from api.ports import StreamConfig
from domain.errors import StoreUnavailableError
from domain.event import EventType
from domain.principal import Scope
from tests.fakes.world import World, fake_config
from tests.rig.serving import Reader, serving

Address = tuple[str, int]
EVENTS = 9


def _app(world: World, **stream: Any) -> Any:
    return create_app(world.ports(), fake_config(stream=StreamConfig(**stream)))


async def _start(address: Address, world: World, key: str | None = None) -> str:
    headers = {"content-type": "application/json"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    answer = await Reader.request(
        address, "/v1/runs", method="POST", headers=headers, body=b'{"input":"hi"}'
    )
    run_id = json.loads(await answer.text())["run_id"]
    answer.close()
    return str(run_id)


@pytest.fixture
async def finished(world: World) -> AsyncIterator[tuple[Address, str]]:
    """A finished run of nine events on a server."""
    world.gateway.words = list("abcde")
    async with serving(_app(world)) as address:
        run_id = await _start(address, world)
        while not world.runs.runs[run_id].is_terminal:
            await asyncio.sleep(0.001)
        assert world.runs.runs[run_id].last_seq == EVENTS
        yield address, run_id


async def test_a_start_that_asks_for_a_stream_gets_every_event_in_the_same_response(
    world: World,
) -> None:
    async with serving(_app(world)) as address:
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
    async with serving(_app(world)) as address:
        run_id = await _start(address, world)
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
    async with serving(_app(world)) as address:
        run_id = await _start(address, world)
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
    async with serving(_app(world, ping_seconds=0.05)) as address:
        run_id = await _start(address, world)
        answer = await Reader.stream(address, f"/v1/runs/{run_id}/events")
        await asyncio.sleep(0.2)
        world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})
        await answer.all()

    assert answer.comments.count("ping") >= 2


async def test_a_reader_that_leaves_is_forgotten(world: World) -> None:
    world.gateway.mode = "hold"
    async with serving(_app(world)) as address:
        run_id = await _start(address, world)
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
    app = _app(world, stall_seconds=1.0, ping_seconds=0.1)
    keeper = app.state.services.keeper
    async with serving(app) as address:
        run_id = await _start(address, world)
        stuck = []
        for _ in range(20):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, address)
            request = f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nhost: localhost\r\n"
            await asyncio.get_running_loop().sock_sendall(
                sock, f"{request}accept: text/event-stream\r\n\r\n".encode()
            )
            stuck.append(sock)
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
    app = _app(world)
    async with serving(app) as address:
        run_id = await _start(address, world)
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


async def test_a_key_revoked_here_ends_its_streams_at_once(world: World) -> None:
    """Attack 7."""
    admin, reader = world.add_key(Scope.ADMIN), world.add_key(Scope.READ, Scope.INVOKE)
    world.gateway.mode = "hold"
    async with serving(_app(world)) as address:
        run_id = await _start(address, world, reader)
        answer = await Reader.request(
            address,
            f"/v1/runs/{run_id}/events",
            headers={"accept": "text/event-stream", "authorization": f"Bearer {reader}"},
        )
        await answer.take(2)

        revoked = await Reader.request(
            address,
            "/v1/keys/key_2",
            method="DELETE",
            headers={"authorization": f"Bearer {admin}"},
        )

        assert revoked.status == 200
        assert await asyncio.wait_for(answer.all(), 1) == []


@pytest.mark.parametrize("how", ["revoked_at", "expires_at"])
async def test_a_key_that_lost_its_rights_elsewhere_loses_its_streams_at_the_next_look(
    world: World, how: str
) -> None:
    """Attack 7: another process revoked it, or it expired."""
    secret = world.add_key(Scope.READ, Scope.INVOKE)
    world.gateway.mode = "hold"
    async with serving(_app(world, recheck_seconds=0.1)) as address:
        run_id = await _start(address, world, secret)
        answer = await Reader.request(
            address,
            f"/v1/runs/{run_id}/events",
            headers={"accept": "text/event-stream", "authorization": f"Bearer {secret}"},
        )
        await answer.take(2)

        ((digest, key),) = world.keys.by_digest.items()
        world.keys.by_digest[digest] = key.model_copy(update={how: world.clock.now - 1})

        assert await asyncio.wait_for(answer.all(), 2) == []


async def test_streams_opened_while_no_key_was_needed_end_when_the_first_key_is_made(
    world: World,
) -> None:
    world.gateway.mode = "hold"
    async with serving(_app(world)) as address:
        run_id = await _start(address, world)
        answer = await Reader.stream(address, f"/v1/runs/{run_id}/events")
        await answer.take(2)

        await Reader.request(
            address,
            "/v1/keys",
            method="POST",
            headers={"content-type": "application/json"},
            body=b'{"name":"first","scopes":["admin"]}',
        )

        assert await asyncio.wait_for(answer.all(), 1) == []


async def test_a_caller_holds_only_so_many_streams(world: World) -> None:
    """Attack 25."""
    world.gateway.mode = "hold"
    async with serving(_app(world, most_per_caller=2)) as address:
        run_id = await _start(address, world)
        target = f"/v1/runs/{run_id}/events"
        held = [await Reader.stream(address, target) for _ in range(2)]
        for answer in held:
            await answer.take(1)

        third = await Reader.stream(address, target)

        assert third.status == 429
        assert int(third.headers["retry-after"]) >= 1
        held[0].close()


async def test_the_log_is_followed_as_it_happens(world: World) -> None:
    async with serving(_app(world)) as address:
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
    async with serving(_app(world)) as address:
        run_id = await _start(address, world)
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


async def test_a_look_at_a_key_that_fails_does_not_end_the_stream(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    secret = world.add_key(Scope.READ, Scope.INVOKE)
    world.gateway.mode = "hold"
    async with serving(_app(world, recheck_seconds=0.05)) as address:
        run_id = await _start(address, world, secret)
        answer = await Reader.request(
            address,
            f"/v1/runs/{run_id}/events",
            headers={"accept": "text/event-stream", "authorization": f"Bearer {secret}"},
        )
        await answer.take(2)

        async def broken(digest: str) -> None:
            raise StoreUnavailableError("the store is locked")

        world.keys.find_key = broken  # type: ignore[method-assign]
        await asyncio.sleep(0.2)
        world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})
        frames = await answer.all()

    assert [frame.event for frame in frames] == ["run_done"]
    assert "could not be looked after" in caplog.text


async def test_a_key_that_was_removed_altogether_loses_its_streams(world: World) -> None:
    secret = world.add_key(Scope.READ, Scope.INVOKE)
    world.gateway.mode = "hold"
    async with serving(_app(world, recheck_seconds=0.1)) as address:
        run_id = await _start(address, world, secret)
        answer = await Reader.request(
            address,
            f"/v1/runs/{run_id}/events",
            headers={"accept": "text/event-stream", "authorization": f"Bearer {secret}"},
        )
        await answer.take(2)
        world.keys.by_digest.clear()

        assert await asyncio.wait_for(answer.all(), 2) == []


async def test_a_stream_without_a_key_goes_on_while_none_is_needed(world: World) -> None:
    world.gateway.mode = "hold"
    async with serving(_app(world, recheck_seconds=0.05)) as address:
        run_id = await _start(address, world)
        answer = await Reader.stream(address, f"/v1/runs/{run_id}/events")
        await answer.take(2)
        await asyncio.sleep(0.2)
        world.runs.emit(run_id, EventType.RUN_DONE, {"final_message": None})

        assert [frame.event for frame in await answer.all()] == ["run_done"]


async def test_a_shutdown_does_not_wait_for_readers_that_are_stuck(world: World) -> None:
    """Fault 28: bounded, whoever reads."""
    world.gateway.mode = "hold"
    app = _app(world)
    async with serving(app) as address:
        run_id = await _start(address, world)
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, address)
        target = f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nhost: localhost\r\n"
        await loop.sock_sendall(sock, f"{target}accept: text/event-stream\r\n\r\n".encode())
        for _ in range(400):
            world.runs.emit(run_id, EventType.AGENT_STREAM_DELTA, {"text": "x" * 20_000})
        await asyncio.sleep(0.2)

        async with asyncio.timeout(10):
            await drain(app, 0.3)
        sock.close()


async def test_a_stream_that_begins_as_the_process_stops_ends_at_once(world: World) -> None:
    """A start was accepted just before: its stream opens just after."""
    app = _app(world)
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
        run_id = await _start(address, world)
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
