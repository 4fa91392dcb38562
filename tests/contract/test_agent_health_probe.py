"""HealthProbe over real sockets: whatever an agent does at GET /health is a report."""

import asyncio
import gzip
import json
from collections.abc import Iterable

import httpx2
import pytest

from adapters.agents.health import HttpHealthProbe
from adapters.net.guard import guarded_client
from adapters.net.policy import LOOPBACK, AddressPolicy
from domain.agenthealth import Report
from tests.stub.agent import StubAgent
from tests.unit.adapters.net.rawserver import http, raw_server

OK = {"status": "ok", "version": "1.0", "capabilities": ["echo"]}


async def look(endpoint: str, *, seconds: float = 5.0, allow: Iterable[str] = LOOPBACK) -> Report:
    async with guarded_client(AddressPolicy(allow_private_hosts=allow)) as client:
        return await HttpHealthProbe(client, seconds=seconds).look(endpoint)


async def report_of(*pieces: bytes) -> Report:
    async with raw_server({"/base/health": pieces}) as server:
        return await look(f"{server.url}/base/")


def body(value: object) -> bytes:
    return http(200, json.dumps(value).encode(), Content_Type="application/json")


async def test_the_stub_agent_says_how_it_is() -> None:
    async with StubAgent().serve() as server:
        report = await look(server.url)

    assert report == Report(version="1.0.0", capabilities=("streaming",))


@pytest.mark.parametrize("value", [OK, {**OK, "more": {"deep": []}}])
async def test_status_version_and_capabilities_are_read(value: object) -> None:
    assert await report_of(body(value)) == Report(version="1.0", capabilities=("echo",))


@pytest.mark.parametrize("value", [{}, {"status": "green"}, {"version": 1, "capabilities": {}}])
async def test_an_agent_that_says_little_is_well(value: object) -> None:
    assert await report_of(body(value)) == Report()


async def test_an_agent_that_says_it_is_not_well_is_believed() -> None:
    report = await report_of(body({"status": "unhealthy"}))

    assert (report.error, report.is_there) == ("it says that it is unhealthy", True)


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_agent_without_the_path_answers_at_least(status: int) -> None:
    assert await report_of(http(status)) == Report(is_word=False)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http(500, b"secret"), "answered 500"),
        (http(401, b"secret"), "answered 401"),
        (http(204), "answered 204"),
        (http(302, Location="http://127.0.0.1:1"), "answered 302"),
        (http(200, b"<html>secret</html>"), "something else than a JSON object"),
        (http(200, b"[1]"), "something else than a JSON object"),
        (http(200, b"NaN"), "something else than a JSON object"),
        (http(200, b"x" * 70_000), "more than 65536 bytes"),
        (
            http(200, gzip.compress(b" " * 10_000_000), Content_Encoding="gzip"),
            "more than 65536 bytes",
        ),
        (http(200, b"secret", Content_Encoding="br"), "broke HTTP"),
        (b"SSH-2.0-secret\r\n\r\n", "broke HTTP"),
        (b"", "broke HTTP"),
    ],
)
async def test_what_else_comes_is_a_report_without_its_text(answer: bytes, said: str) -> None:
    report = await report_of(answer)

    assert not report.is_there
    assert report.error is not None
    assert said in report.error
    assert "secret" not in report.error


async def test_an_agent_that_hangs_is_given_up_on() -> None:
    async with raw_server({"": []}, hold=True) as server:
        report = await look(server.url, seconds=0.1)
        await asyncio.wait_for(server.peer_gone.wait(), 5)

    assert report == Report(error="GET /health was not answered within 0.1 s", is_there=False)


async def test_an_agent_that_trickles_is_given_up_on_as_well() -> None:
    """The time is for the whole answer: a byte now and then does not stretch it."""

    def drops() -> Iterable[bytes]:
        yield http(200)
        yield from (b" " for _ in range(10_000))

    async with raw_server({"/health": drops()}, hold=True) as server:
        report = await asyncio.wait_for(look(server.url, seconds=0.2), 5)
        await asyncio.wait_for(server.peer_gone.wait(), 5)

    assert report.error == "GET /health was not answered within 0.2 s"


async def test_an_agent_that_is_not_there_is_lost() -> None:
    async with raw_server() as server:
        gone = server.url

    report = await look(gone)

    assert not report.is_there
    assert report.error is not None
    assert report.error.startswith("it cannot be reached")


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:7233", "http://169.254.169.254", "http://x.test?y=", "no url"]
)
async def test_an_endpoint_that_may_not_be_contacted_is_not(endpoint: str) -> None:
    report = await look(endpoint, allow=())

    assert not report.is_there
    assert report.error


async def test_a_redirect_leads_nowhere() -> None:
    """Attack 8: the canary is not asked."""
    async with raw_server() as canary:
        report = await report_of(http(307, Location=f"{canary.url}/health"))

        assert report.error == "GET /health answered 307"
        assert canary.connections == 0


async def test_a_client_that_breaks_does_not_end_the_checks() -> None:
    def broken(_: httpx2.Request) -> httpx2.Response:
        raise RuntimeError("odd")

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(broken)) as client:
        report = await HttpHealthProbe(client).look("http://agent.test")

    assert report.error == "it cannot be asked: RuntimeError in the HTTP client"
