"""What is made of answers that are no event stream, and how much of them is read."""

import asyncio

import pytest

from adapters.llm import transport
from adapters.llm.openai import OpenAIAccount, OpenAIChat
from domain.errors import MalformedReplyError, ModelUnavailableError, OrchestratorError
from tests.stub.http import Exchange, Handler, serving
from tests.unit.adapters.llm.asking import break_off, request, user


async def answer_of(handler: Handler) -> OrchestratorError:
    async with serving(handler) as server:
        chat = OpenAIChat(OpenAIAccount("k", server.url))
        try:
            _, error = await break_off(chat.stream(request("m", user("hi"))))
        finally:
            await chat.aclose()
    return error


async def test_an_endless_error_body_is_read_to_a_limit() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.start_stream("text/plain", status=500)
        while True:
            await exchange.send(b"x" * 10_000)

    async with asyncio.timeout(10):
        error = await answer_of(handler)

    assert type(error) is ModelUnavailableError
    assert len(error.message) < 400


async def test_an_error_body_that_stalls_is_waited_for_no_longer_than_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "_ERROR_BODY_SECONDS", 0.05)

    async def handler(exchange: Exchange) -> None:
        await exchange.start_stream("text/plain", status=503)
        await exchange.send(b"we are clo")
        await exchange.hang()

    error = await answer_of(handler)

    assert error.message == "openai answered 503: we are clo"


async def test_a_compressed_error_body_is_not_looked_at() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.reply(b"\x1f\x8bbomb", 500, {"content-encoding": "gzip"})

    assert (await answer_of(handler)).message == "openai answered 500"


async def test_a_compressed_stream_is_refused() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.start_stream(headers={"content-encoding": "gzip"})
        await exchange.hang()

    error = await answer_of(handler)

    assert type(error) is MalformedReplyError
    assert "compressed" in error.message


async def test_a_reply_without_a_stream_is_refused() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.reply_json({"choices": [{"message": {"content": "Hi"}}]})

    assert type(await answer_of(handler)) is MalformedReplyError


@pytest.mark.parametrize(
    ("url", "follows_environment"),
    [("http://127.0.0.1:1/v1", False), ("https://localhost/v1", False), ("http://box/v1", True)],
)
async def test_a_proxy_of_the_environment_is_used_elsewhere_only(
    url: str, follows_environment: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")

    async with transport.build_client("x", url, 1, ()) as client:
        assert client.trust_env is follows_environment
        assert client.follow_redirects is False
        assert bool(client._mounts) is follows_environment
