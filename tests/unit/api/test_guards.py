"""What a request passes before it reaches a route (attacks 11, 24, 25)."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
import uvloop
from fastapi import FastAPI

from api.app import create_app
from api.ports import RateConfig
from api.server import ApiProtocol
from tests.fakes.world import World, fake_config
from tests.rig.serving import Reader, serving
from tests.unit.api.conftest import Connect

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:1", "[::1]", "[::1]:80", "LOCALHOST"]
)
async def test_our_own_names_are_served(client: httpx2.AsyncClient, host: str) -> None:
    answer = await client.get("/v1/runs", headers={"host": host})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "[", "10.0.0.1"],
)
async def test_a_foreign_host_name_is_refused_even_on_probes(
    client: httpx2.AsyncClient, host: str
) -> None:
    """A page that rebinds its name to loopback still sends its own name."""
    for path in ("/v1/runs", "/livez"):
        answer = await client.get(path, headers={"host": host})
        assert answer.status_code == 421


async def test_two_host_headers_are_refused(world: World) -> None:
    async with serving(create_app(world.ports(), fake_config())) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n")
        status = await reader.readline()
        writer.close()
        await writer.wait_closed()

    assert b" 421 " in status


async def test_any_host_is_served_where_the_operator_says_so(
    world: World, connect: Connect
) -> None:
    app = create_app(world.ports(), fake_config(allowed_hosts=frozenset({"*"})))

    answer = await connect(app).get("/livez", headers={"host": "orchestrator.internal"})

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 202),
        ("https://localhost", 202),
        ("http://localhost:9999", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("file://", 403),
        ("http://localhost.evil.example", 403),
    ],
)
async def test_state_is_changed_by_pages_of_our_own_origin_only(
    client: httpx2.AsyncClient, world: World, origin: str, status: int
) -> None:
    answer = await client.post("/v1/runs", json={"input": "x"}, headers={"origin": origin})

    assert answer.status_code == status
    assert len(world.runs.accepted) == (status == 202)
    assert "access-control-allow-origin" not in answer.headers


async def test_an_origin_that_the_operator_names_may_use_the_api(
    world: World, connect: Connect
) -> None:
    origin = "https://app.example"
    config = fake_config(allowed_origins=frozenset({origin}))
    client = connect(create_app(world.ports(), config), world.add_key())

    preflight = await client.options(
        "/v1/runs", headers={"origin": origin, "access-control-request-method": "POST"}
    )
    answer = await client.post("/v1/runs", json={"input": "x"}, headers={"origin": origin})

    assert preflight.status_code == 200
    assert answer.status_code == 202
    assert answer.headers["access-control-allow-origin"] == origin
    assert "access-control-allow-credentials" not in answer.headers


async def _flood(writer: asyncio.StreamWriter, chunk: bytes, most: int) -> int:
    """Send chunks until the other side has had enough; returns how many went."""
    for sent in range(most):
        try:
            writer.write(chunk)
            await writer.drain()
        except ConnectionError:
            return sent
        await asyncio.sleep(0)
    return most


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_of_200_mb_is_refused_and_not_read_to_its_end(
    world: World, declared: bool
) -> None:
    """Attack 24: by its length, and counted as it arrives when none is declared."""
    chunk = b"x" * 65536
    async with serving(create_app(world.ports(), fake_config())) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        length = "content-length: 200000000" if declared else "transfer-encoding: chunked"
        writer.write(
            f"POST /v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            f"{length}\r\n\r\n".encode()
        )
        sent = await _flood(writer, chunk if declared else b"10000\r\n" + chunk + b"\r\n", 3000)
        try:
            status = await reader.readline()
        except ConnectionError:
            status = b"the answer went with the connection"
        writer.close()

    assert b" 413 " in status or status.endswith(b"connection")
    assert sent < 1300, "of 3000 chunks; 64 MiB are read and dropped"


async def _pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * 65536


@pytest.mark.parametrize(
    "body", [lambda: b"x" * 20_000_000, lambda: _pieces(80)], ids=["20 MB declared", "5 MB chunked"]
)
@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_whoever_sends_too_much_reads_why(
    body: Callable[[], bytes | AsyncIterator[bytes]],
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Attack 24: with an ordinary client, which sends everything before it reads anything."""

    async def ask() -> list[httpx2.Response]:
        async with (
            serving(create_app(World().ports(), fake_config())) as (host, port),
            httpx2.AsyncClient(base_url=f"http://{host}:{port}", headers=JSON) as client,
        ):
            return [await client.post("/v1/runs", content=body()) for _ in range(4)]

    with asyncio.Runner(loop_factory=new_loop) as runner:
        answers = runner.run(ask())

    for answer in answers:
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "request_too_large"


async def test_a_caller_that_stops_sending_is_not_waited_for_long(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.guards._DISCARD_SECONDS", 0.2)
    async with serving(create_app(world.ports(), fake_config())) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(
            b"POST /v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2000000\r\n\r\n"
        )
        answer = await asyncio.wait_for(reader.read(), 2)
        writer.close()

    assert b" 413 " in answer


async def test_a_body_just_within_the_limit_is_read(world: World, connect: Connect) -> None:
    client = connect(create_app(world.ports(), fake_config(max_body_bytes=1000)))
    frame = len(b'{"input":""}')

    fits = await client.post(
        "/v1/runs", content=b'{"input":"' + b"x" * (1000 - frame) + b'"}', headers=JSON
    )
    larger = await client.post(
        "/v1/runs", content=b'{"input":"' + b"x" * (1001 - frame) + b'"}', headers=JSON
    )

    assert fits.status_code == 202
    assert larger.status_code == 413
    assert larger.json()["code"] == "request_too_large"


async def test_a_body_that_trickles_in_is_given_up(world: World) -> None:
    """Attack 24: slow body."""
    app = create_app(world.ports(), fake_config(body_seconds=0.2))
    async with serving(app) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(
            b"POST /v1/runs HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 100\r\n\r\n{"
        )
        status = await asyncio.wait_for(reader.readline(), 2)
        writer.close()

    assert b" 408 " in status


async def test_probes_are_answered_however_much_is_asked_from_their_address(
    world: World, connect: Connect
) -> None:
    """A process that is busy with requests must not be taken for a dead one."""
    rate = RateConfig(per_second=0.01, burst=1)
    client = connect(create_app(world.ports(), fake_config(rate=rate)))
    spent = [(await client.get("/v1/runs")).status_code for _ in range(2)]

    probes = [(await client.get(path)).status_code for path in ("/livez", "/readyz") * 3]

    assert spent == [200, 429]
    assert set(probes) == {200}
    assert (await client.get("/health")).status_code == 429


async def test_a_burst_is_slowed_down_and_told_when_to_come_back(
    world: World, connect: Connect
) -> None:
    """Attack 25."""
    rate = RateConfig(per_second=2, burst=5)
    client = connect(create_app(world.ports(), fake_config(rate=rate)))

    answers = [await client.get("/v1/runs") for _ in range(7)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert answers[-1].json()["code"] == "rate_limited"
    assert int(answers[-1].headers["retry-after"]) >= 1


async def test_one_key_does_not_use_up_the_share_of_another(world: World, connect: Connect) -> None:
    rate = RateConfig(per_second=1, burst=2)
    app = create_app(world.ports(), fake_config(rate=rate))
    loud, quiet = connect(app, world.add_key()), connect(app, world.add_key())

    loud_answers = [await loud.get("/v1/runs") for _ in range(4)]
    quiet_answer = await quiet.get("/v1/runs")

    assert loud_answers[-1].status_code == 429
    assert quiet_answer.status_code == 200


async def test_a_full_queue_answers_503_with_retry_after(world: World, connect: Connect) -> None:
    world.gateway.mode = "hold"
    config = fake_config()
    full = fake_config(
        intake=type(config.intake)(config.intake.default_limits, ("offline/echo",), 1)
    )
    client = connect(create_app(world.ports(), full))
    await client.post("/v1/runs", json={"input": "x"})

    native = await client.post("/v1/runs", json={"input": "x"})
    seed = await client.post("/api/v1/request", json={"tool_name": "calculator"})

    assert native.status_code == seed.status_code == 503
    assert native.json()["code"] == seed.json()["error"]["code"] == "queue_full"
    assert native.headers["retry-after"] == seed.headers["retry-after"] == "1"


@pytest.mark.parametrize("given", ["abc-123", "", "a" * 65, "a b", "x\x7fy"])
async def test_every_answer_has_a_request_id_the_callers_own_if_it_is_harmless(
    app: FastAPI, connect: Connect, given: str
) -> None:
    answer = await connect(app).get("/livez", headers={"x-request-id": given})

    expected = given if given == "abc-123" else "req_000001"
    assert answer.headers["x-request-id"] == expected


async def test_every_answer_carries_the_headers_that_tie_a_browsers_hands(
    client: httpx2.AsyncClient,
) -> None:
    for path in ("/v1/runs", "/nope", "/livez"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["cache-control"] == "no-store"


async def test_a_web_socket_is_closed(app: FastAPI) -> None:
    sent: list[dict[str, object]] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    await app({"type": "websocket", "path": "/", "headers": []}, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_headers_too_large_too_many_or_too_slow_end_the_connection(world: World) -> None:
    """Attack 24: on the server's own protocol."""

    class Impatient(ApiProtocol):
        header_seconds = 0.2

    async with serving(create_app(world.ports(), fake_config()), Impatient) as address:
        large = await _raw(address, b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000)
        many = await _raw(address, b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 101 + b"\r\n")
        target = await _raw(address, b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n")
        slow = await _raw(address, b"GET / HTTP/1.1\r\nx: y\r\n")
        silent = await _raw(address, b"")
        garbage = await _raw(address, b"\x16\x03\x01\x02\x00")
        alive = await Reader.request(address, "/livez")

    assert [b" 431 " in answer for answer in (large, many, target)] == [True] * 3
    assert [b" 408 " in answer for answer in (slow, silent)] == [True] * 2
    assert b" 400 " in garbage
    assert alive.status == 200


async def _raw(address: tuple[str, int], sent: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(sent)
    answer = await asyncio.wait_for(reader.read(200), 2)
    writer.transport.abort()
    return answer


async def test_answers_on_a_kept_connection_do_not_wait_for_acknowledgements(
    world: World,
) -> None:
    """Head and body are two small writes: without TCP_NODELAY the second waits 40 ms."""
    async with serving(create_app(world.ports(), fake_config())) as address:
        reader, writer = await asyncio.open_connection(*address)
        began = asyncio.get_running_loop().time()
        for _ in range(20):
            writer.write(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await reader.readuntil(b'{"status":"ok"}')
        took = asyncio.get_running_loop().time() - began
        writer.close()

    assert took < 20 * 0.04


async def test_a_connection_serves_many_requests(world: World) -> None:
    async with (
        serving(create_app(world.ports(), fake_config())) as (host, port),
        httpx2.AsyncClient(base_url=f"http://{host}:{port}") as client,
    ):
        answers = [await client.post("/v1/runs?wait=5", json={"input": "x"}) for _ in range(3)]

    assert [answer.json()["state"] for answer in answers] == ["DONE"] * 3
