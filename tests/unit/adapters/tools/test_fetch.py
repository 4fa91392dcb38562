"""`http_fetch`: pages become text, and no page leads inside or out of proportion (attack 8)."""

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.net.guard import guarded_client
from adapters.net.policy import AddressPolicy
from adapters.tools.fetch import MAX_BODY_BYTES, fetch_tool
from adapters.tools.registry import ToolRegistry
from domain.tool import ToolOutcome
from tests.unit.adapters.net.rawserver import RawServer, http, raw_server
from tests.unit.adapters.tools.calls import call


@asynccontextmanager
async def toolbox_for(
    server: RawServer, total_seconds: float = 20.0
) -> AsyncIterator[ToolRegistry]:
    """Yield a toolbox for which exactly `server` is an ordinary public host."""
    policy = AddressPolicy(allow_private_hosts=[f"127.0.0.1:{server.port}"])
    async with guarded_client(policy) as client:
        yield ToolRegistry([fetch_tool(client, total_seconds)])


async def fetched(answer: bytes, **args: Any) -> ToolOutcome:
    async with raw_server({"": [answer]}) as server, toolbox_for(server) as registry:
        return await call(registry, "http_fetch", url=f"{server.url}/page", **args)


async def test_html_page_becomes_text() -> None:
    page = b"<title>T</title><p>Hello<script>x</script> world</p>"
    outcome = await fetched(http(200, page, Content_Type="text/html; charset=utf-8"))

    said = json.loads(outcome.content)
    assert (said["status"], said["title"], said["text"]) == (200, "T", "Hello world")
    assert said["truncated"] is False


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain; charset=iso-8859-1", b"caf\xe9", "café"),
        ('text/plain; charset="UTF-8"', "\ufeffcafé".encode(), "café"),
        ("text/plain; charset=shift_jis", "日本".encode("shift_jis"), "日本"),
        ("text/plain; charset=idna", b"abc", "abc"),
        ("text/plain; charset=zlib", b"abc", "abc"),
        ("text/plain; charset=no\x01such", b"abc", "abc"),
        ("text/plain", b"a\x00\xffb", "a\ufffd\ufffdb"),
        ("application/json", b'{"a": 1}', '{"a": 1}'),
        ("application/ld+json", b"{}", "{}"),
    ],
)
async def test_text_is_decoded_by_its_charset(content_type: str, body: bytes, text: str) -> None:
    outcome = await fetched(http(200, body, Content_Type=content_type))

    assert json.loads(outcome.content)["text"] == text


async def test_status_of_an_error_page_is_a_result() -> None:
    outcome = await fetched(http(404, b"gone", Content_Type="text/plain"))

    assert json.loads(outcome.content)["status"] == 404


async def test_binary_page_is_refused() -> None:
    outcome = await fetched(http(200, b"\x89PNG", Content_Type="image/png"))

    assert (outcome.ok, outcome.error_code) == (False, "tool_error")
    assert "'image/png'" in outcome.content


async def test_text_is_cut_at_the_asked_length() -> None:
    outcome = await fetched(http(200, b"x" * 100, Content_Type="text/plain"), max_chars=10)

    said = json.loads(outcome.content)
    assert (said["text"], said["truncated"]) == ("x" * 10, True)


async def test_gzip_bomb_is_cut() -> None:
    bomb = gzip.compress(b"x" * (100 << 20))
    answer = http(200, bomb, Content_Type="text/plain", Content_Encoding="gzip")

    outcome = await fetched(answer, max_chars=100_000)

    said = json.loads(outcome.content)
    assert len(said["text"]) <= min(100_000, MAX_BODY_BYTES)
    assert said["truncated"] is True


async def test_unsupported_encoding_is_named() -> None:
    outcome = await fetched(http(200, b"x", Content_Type="text/plain", Content_Encoding="br"))

    assert not outcome.ok
    assert "'br' is not supported" in outcome.content


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_chain_to_loopback_is_refused_before_a_connection(status: int) -> None:
    async with raw_server() as canary:
        inside = f"http://127.0.0.1:{canary.port}/admin"
        answers = {
            "/start": [http(status, Location="/second")],
            "/second": [http(status, Location=inside)],
        }
        async with raw_server(answers) as server, toolbox_for(server) as registry:
            outcome = await call(registry, "http_fetch", url=f"{server.url}/start")

        assert not outcome.ok
        assert "may not be contacted" in outcome.content
        assert server.connections == 2
        assert canary.connections == 0


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[::1", "gopher://x/", "//"])
async def test_redirect_to_something_else_is_refused(location: str) -> None:
    outcome = await fetched(http(302, Location=location))

    assert (outcome.ok, outcome.error_code) == (False, "tool_error")


async def test_redirects_are_followed_three_times_and_no_more() -> None:
    chain = {f"/{n}": [http(302, Location=f"/{n + 1}")] for n in range(4)}
    chain["/4"] = [http(200, b"end", Content_Type="text/plain")]
    async with raw_server(chain) as server, toolbox_for(server) as registry:
        near = await call(registry, "http_fetch", url=f"{server.url}/1")
        far = await call(registry, "http_fetch", url=f"{server.url}/0")

    assert json.loads(near.content)["url"] == f"{server.url}/4"
    assert not far.ok
    assert "more than 3 times" in far.content


async def test_page_that_never_ends_is_cut_by_the_total_time() -> None:
    start = http(200, b"first", Content_Type="text/plain")
    async with raw_server({"": [start]}, hold=True) as server:
        async with toolbox_for(server, total_seconds=0.1) as registry:
            outcome = await call(registry, "http_fetch", url=server.url)
        await server.peer_gone.wait()

    assert not outcome.ok
    assert "within 0.1 s" in outcome.content


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080/",
        "http://localhost/",
        "http://169.254.169.254/latest/meta-data/",
        "http://user:secret@example.com/",
        "ftp://example.com/",
        "example.com",
        "http://",
        "http://[::1",
        "",
    ],
)
async def test_address_that_may_not_be_read_is_an_answer_for_the_model(url: str) -> None:
    async with raw_server() as server, toolbox_for(server) as registry:
        outcome = await call(registry, "http_fetch", url=url)

    assert (outcome.ok, outcome.error_code) == (False, "tool_error")
    assert "secret" not in outcome.content


async def test_unreachable_server_is_an_answer_for_the_model() -> None:
    async with raw_server() as server, toolbox_for(server) as registry:
        url = server.url
    async with toolbox_for(server) as registry:
        outcome = await call(registry, "http_fetch", url=url)

    assert not outcome.ok
    assert "cannot be reached" in outcome.content


@pytest.mark.parametrize(
    ("url", "missing"),
    [("http://", "host"), ("https:///x", "host"), ("x", "scheme"), ("example.com/a", "scheme")],
)
async def test_what_an_address_lacks_is_named(url: str, missing: str) -> None:
    async with raw_server({}) as server, toolbox_for(server) as registry:
        outcome = await call(registry, "http_fetch", url=url)

    assert not outcome.ok
    assert f"'{url}' names no {missing}" in outcome.content
