"""Requests passed through to a server over real sockets: connections, proxies, what breaks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from adapters.llm.openai import OpenAIAccount
from adapters.llm.patience import Patience
from adapters.llm.raw.dialing import place_of
from adapters.llm.raw.passing import PassThrough
from domain.errors import (
    MalformedReplyError,
    ModelRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    ReplyTooLargeError,
    StreamIncompleteError,
)
from domain.upstream import RawRequest
from tests.stub.http import StubServer
from tests.stub.provider import Provider

Serve = Callable[[bytes], Any]


def request(text: str = "hello", *, is_stream: bool = True, **fields: Any) -> RawRequest:
    body = {"messages": [{"role": "user", "content": text}], "stream": is_stream, **fields}
    return RawRequest("openai/m", body, 77, is_stream)


def through(url: str, **patience: float) -> PassThrough:
    account = OpenAIAccount("sk-secret", f"{url}/v1", organization="org")
    return PassThrough(account, "openai", Patience(**patience))


async def read(server: PassThrough, asked: RawRequest) -> bytes:
    return b"".join([block async for block in server.ask(asked).blocks()])


@pytest.fixture
async def stub() -> AsyncIterator[tuple[Provider, StubServer]]:
    provider = Provider()
    async with provider.serve() as server:
        yield provider, server


async def test_one_connection_serves_one_request_after_the_other(
    stub: tuple[Provider, StubServer],
) -> None:
    provider, server = stub
    passing = through(server.url)

    for is_stream in (True, False, True):
        answer = await read(passing, request("[[say=here]]", is_stream=is_stream))
        assert b"here" in answer

    assert server.accepted == 1
    assert {"authorization", "openai-organization"} <= set(provider.log[0].headers)
    passing.close()


async def test_the_cap_is_sent_unless_the_caller_named_one(
    stub: tuple[Provider, StubServer],
) -> None:
    provider, server = stub
    passing = through(server.url)

    await read(passing, request())
    await read(passing, request(max_completion_tokens=5, stream_options={"x": 1}))

    first, second = (entry.asked for entry in provider.log)
    assert (first["max_tokens"], first["model"]) == (77, "m")
    assert "max_tokens" not in second
    assert second["stream_options"] == {"x": 1, "include_usage": True}
    passing.close()


async def test_an_answer_that_is_left_closes_its_socket(stub: tuple[Provider, StubServer]) -> None:
    provider, server = stub
    blocks = through(server.url).ask(request("[[tokens=9 stall_after=2]]")).blocks()

    await anext(blocks)
    await blocks.aclose()

    (entry,) = await asyncio.wait_for(provider.settled(), 5)
    assert entry.outcome == "client_closed"


async def test_an_answer_that_does_not_end_in_time_is_given_up(
    stub: tuple[Provider, StubServer],
) -> None:
    _, server = stub
    silent = through(server.url, first_seconds=0.1)
    slow = through(server.url, total_seconds=0.1)

    with pytest.raises(ModelTimeoutError):
        await read(silent, request("[[keepalive_only]]"))
    with pytest.raises(ModelTimeoutError):
        await read(slow, request("[[first_ms=5000]]", is_stream=False))


async def test_a_server_that_is_not_there_cannot_be_reached() -> None:
    async with Provider().serve() as server:
        url = server.url

    with pytest.raises(ModelUnavailableError):
        await read(through(url), request())


# ---------------------------------------------------------------- servers that break HTTP


@pytest.fixture
async def raw() -> AsyncIterator[Serve]:
    servers: list[asyncio.Server] = []

    async def serve(answer: bytes) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    yield serve
    for server in servers:
        server.close()


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", StreamIncompleteError),
        (b"nonsense\r\n\r\n", StreamIncompleteError),
        (HEAD + b"x: " + b"y" * 100_000, StreamIncompleteError),
        (HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nda", StreamIncompleteError),
        (HEAD + b"\r\ndata: {}\n\n", StreamIncompleteError),
        (HEAD + b"content-encoding: gzip\r\n\r\n", MalformedReplyError),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}", MalformedReplyError),
        (b"HTTP/1.1 404 Not Found\r\n\r\nnothing", ModelRequestError),
        (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nxx", Exception),
    ],
)
async def test_a_server_that_breaks_http_is_an_error_of_ours(
    raw: Serve, answer: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await asyncio.wait_for(read(through(await raw(answer)), request()), 5)


async def test_an_answer_may_end_with_its_connection(raw: Serve) -> None:
    body = b'{"choices": [{"finish_reason": "stop"}]}'
    url = await raw(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
        + body
    )

    assert await read(through(url), request(is_stream=False)) == body


async def test_what_is_too_large_is_cut(raw: Serve) -> None:
    url = await raw(HEAD + b"\r\ndata: " + b"x" * (9 * 1024 * 1024))

    with pytest.raises(ReplyTooLargeError):
        await read(through(url), request())


@pytest.mark.parametrize("body", [b"{}", b"[]", b'{"choices": []}', b'{"choices": [7]}', b"{"])
async def test_an_answer_that_is_no_completion_is_malformed(raw: Serve, body: bytes) -> None:
    url = await raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + body)

    with pytest.raises(MalformedReplyError):
        await read(through(url), request(is_stream=False))


async def test_a_reader_that_does_not_keep_up_slows_the_sender(
    stub: tuple[Provider, StubServer],
) -> None:
    _, server = stub
    passing = through(server.url)
    size = 0

    async for block in passing.ask(request("[[huge_text=8MB]]")).blocks():
        size += len(block)
        await asyncio.sleep(0.001)

    assert size > 8_000_000
    passing.close()


# ---------------------------------------------------------------- proxies


def test_a_proxy_of_the_environment_counts_but_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """`monkeypatch`: the environment is where proxies are named."""
    monkeypatch.setenv("https_proxy", "http://ann:secret@proxy:3128")
    monkeypatch.setenv("no_proxy", "inner.example")

    assert place_of("https://api.example/v1").proxy is not None
    assert "secret" not in repr(place_of("https://api.example/v1"))
    assert place_of("https://inner.example/v1").proxy is None
    assert place_of("http://127.0.0.1:9/v1").proxy is None
    assert place_of("https://[2001:db8::1]:8443").authority == "[2001:db8::1]:8443"
    assert place_of("https://api.example").authority == "api.example"


@pytest.fixture
async def proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that connects everything to the port it is asked for on this machine."""
    seen: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        seen.append(head)
        if "Basic" not in head:
            writer.write(b"HTTP/1.1 407 Who\r\n\r\n")
            writer.close()
            return
        port = int(head.split(" ")[1].rpartition(":")[2])
        there = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(4096):
                target.write(data)
            target.close()

        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    server.close()


async def test_a_server_is_reached_through_a_proxy(
    stub: tuple[Provider, StubServer],
    proxy: tuple[str, list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, server = stub
    address, seen = proxy
    monkeypatch.setenv("http_proxy", f"http://ann:secret@{address}")
    passing = through(f"http://api.example:{server.port}")

    assert b"here" in await read(passing, request("[[say=here]]"))

    assert seen[0].startswith(f"CONNECT api.example:{server.port} HTTP/1.1\r\n")
    passing.close()


@pytest.mark.parametrize("scheme", ["http://", "socks5://"])
async def test_a_proxy_that_does_not_let_us_through_is_named(
    proxy: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("http_proxy", f"{scheme}{proxy[0]}")

    with pytest.raises(ModelUnavailableError, match="proxy"):
        await read(through("http://api.example:1"), request())
