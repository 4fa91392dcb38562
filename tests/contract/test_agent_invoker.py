"""AgentInvoker: deltas and states, then exactly one `AgentDone`, or a named error (faults 33, 34).

Over real sockets, against a server that sends whatever bytes the test wants, and against the agent
of `examples/`.
"""

import asyncio
import gzip
import json
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import cast

import httpx2
import pytest

from adapters.agents.http import HttpAgentInvoker, StreamLimits
from adapters.net.guard import guarded_client
from adapters.net.policy import LOOPBACK, AddressPolicy
from domain.agent import AgentChunk, AgentDelta, AgentDone, AgentInvocation, AgentState
from domain.chat import ChatMessage
from domain.errors import AddressRefusedError, AgentFailedError, AgentUnavailableError
from tests.unit.adapters.net.rawserver import RawServer, http, raw_server, sse

DONE = ("done", {"final_message": "Hello", "usage": {"tokens": 10}})
HELLO = ("delta", {"text": "Hello", "run_id": "run_1"})
EVENT_STREAM = "text/event-stream"


def invocation(endpoint: str, session_id: str = "sess_1") -> AgentInvocation:
    return AgentInvocation(
        endpoint=endpoint,
        agent_id="agent_1",
        session_id=session_id,
        run_id="run_1",
        input_message=ChatMessage(role="user", content="hi there"),
        messages=(ChatMessage(role="user", content="hi there"),),
    )


@asynccontextmanager
async def invoker(
    limits: StreamLimits | None = None, allow: Iterable[str] = LOOPBACK
) -> AsyncIterator[HttpAgentInvoker]:
    async with guarded_client(AddressPolicy(allow_private_hosts=allow)) as client:
        yield HttpAgentInvoker(client, platform_base_url="http://platform.test", limits=limits)


async def collect(
    endpoint: str, limits: StreamLimits | None = None, session_id: str = "sess_1"
) -> list[AgentChunk]:
    async with invoker(limits) as agent:
        return [chunk async for chunk in agent.stream(invocation(endpoint, session_id))]


async def answer_to(*pieces: bytes, limits: StreamLimits | None = None) -> list[AgentChunk]:
    async with raw_server({"/invoke": pieces}) as server:
        return await collect(server.url, limits)


def open_stream(agent: HttpAgentInvoker, server: RawServer) -> AsyncGenerator[AgentChunk]:
    return cast("AsyncGenerator[AgentChunk]", agent.stream(invocation(server.url)))


async def test_answer_is_deltas_and_states_then_one_done() -> None:
    state = ("state", {"state": "thinking", "detail": "hard"})

    assert await answer_to(sse(state, HELLO, ("heartbeat", {}), DONE)) == [
        AgentState(state="thinking", detail="hard"),
        AgentDelta(text="Hello"),
        AgentDone(final_message="Hello", usage={"tokens": 10}),
    ]


@pytest.mark.parametrize("ending", ["", "/"])
async def test_request_is_as_the_protocol_says(ending: str) -> None:
    async with raw_server({"/base/invoke": [sse(DONE)]}) as server:
        await collect(f"{server.url}/base{ending}", session_id="sess ü\r\nX-Evil: 1")

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
    assert head.startswith(b"POST /base/invoke HTTP/1.1\r\n")
    assert headers["accept"] == EVENT_STREAM
    assert headers["content-type"] == "application/json"
    assert headers["x-run-id"] == "run_1"
    assert headers["x-session-id"] == "sess%20%c3%bc%0d%0ax-evil:%201"
    assert headers["x-platform-base-url"] == "http://platform.test"
    assert json.loads(body) == {
        "agent_id": "agent_1",
        "session_id": "sess ü\r\nX-Evil: 1",
        "run_id": "run_1",
        "input_message": {"role": "user", "content": "hi there"},
        "messages": [{"role": "user", "content": "hi there"}],
        "context": {},
    }


async def test_attempts_of_a_run_share_a_trace_and_differ_in_span() -> None:
    async with raw_server({"/invoke": [sse(DONE)]}) as server:
        await collect(server.url)
        await collect(server.url)

    lines = [line for request in server.requests for line in request.decode().split("\r\n")]
    (one, two) = [line.split("-") for line in lines if line.startswith("traceparent: ")]
    assert one[1] == two[1]
    assert one[2] != two[2]
    assert (len(one[1]), len(one[2]), one[3]) == (32, 16, "01")


async def test_first_done_wins_and_nothing_counts_after_it() -> None:
    late = sse(HELLO, DONE, ("delta", {"text": "late"}), ("done", {"final_message": "other"}))

    assert await answer_to(late) == [
        AgentDelta(text="Hello"),
        AgentDone(final_message="Hello", usage={"tokens": 10}),
    ]


async def test_stream_that_stays_open_after_done_is_closed_by_us() -> None:
    async with raw_server({"/invoke": [sse(DONE)]}, hold=True) as server:
        assert len(await collect(server.url)) == 1
        await asyncio.wait_for(server.peer_gone.wait(), 5)


@pytest.mark.parametrize(
    "stream",
    [
        sse(HELLO),
        sse(),
        sse(DONE)[:-1],
        http(200, b'event: done\ndata: {"final_message": "x"}', Content_Type=EVENT_STREAM),
        http(200, b"no blank line at all", Content_Type=EVENT_STREAM),
    ],
)
async def test_stream_without_done_is_no_answer(stream: bytes) -> None:
    with pytest.raises(AgentUnavailableError, match="ended without done"):
        await answer_to(stream)


async def test_stream_cut_in_the_middle_is_unavailable() -> None:
    with pytest.raises(AgentUnavailableError, match="cannot be reached"):
        await answer_to(http(200, b"event:", Content_Type=EVENT_STREAM, Content_Length="999"))


async def test_error_event_is_the_agents_failure_with_its_code() -> None:
    with pytest.raises(AgentFailedError, match="reported llm_error: no credit"):
        await answer_to(sse(HELLO, ("error", {"code": "llm_error", "message": "no credit"})))


async def test_delta_of_another_run_is_rejected() -> None:
    with pytest.raises(AgentFailedError, match="another run"):
        await answer_to(sse(("delta", {"text": "psst", "run_id": "run_2"}), DONE))


async def test_line_of_20_mb_ends_with_the_limits_name_and_without_its_memory() -> None:
    pieces = [http(200, b"event: delta\ndata: ", Content_Type=EVENT_STREAM)]
    pieces += [b"x" * 65536] * 320

    with pytest.raises(AgentFailedError, match="line is longer than 1048576 bytes"):
        await answer_to(*pieces)


async def test_event_of_many_lines_is_limited() -> None:
    limits = StreamLimits(event_bytes=1000)
    body = b"data: 0123456789\n" * 1000

    with pytest.raises(AgentFailedError, match="event is larger than 1000 bytes"):
        await answer_to(http(200, body, Content_Type=EVENT_STREAM), limits=limits)


async def test_whole_answer_is_limited() -> None:
    limits = StreamLimits(total_bytes=10_000)

    with pytest.raises(AgentFailedError, match="larger than 10000 bytes"):
        await answer_to(sse(*[HELLO] * 1000, DONE), limits=limits)


async def test_gzip_bomb_is_limited_after_decompression() -> None:
    bomb = gzip.compress(b": %s\n" % (b"keep-alive" * 200) * 26_000)
    answer = http(200, bomb, Content_Type=EVENT_STREAM, Content_Encoding="gzip")

    with pytest.raises(AgentFailedError, match="larger than 16777216 bytes"):
        await answer_to(answer)


async def test_compressed_stream_is_read() -> None:
    _, _, body = sse(HELLO, DONE).partition(b"\r\n\r\n")
    answer = http(200, gzip.compress(body), Content_Type=EVENT_STREAM, Content_Encoding="gzip")

    assert len(await answer_to(answer)) == 2


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "gzip"])
async def test_encoding_that_cannot_be_undone_is_named(encoding: str) -> None:
    answer = http(200, b"not gzip", Content_Type=EVENT_STREAM, Content_Encoding=encoding)

    with pytest.raises(AgentFailedError, match=r"not supported|cannot be decoded"):
        await answer_to(answer)


@pytest.mark.parametrize("content_type", ["application/json", "text/html", "text/plain", ""])
async def test_wrong_content_type_is_named(content_type: str) -> None:
    with pytest.raises(AgentFailedError, match="not text/event-stream"):
        await answer_to(http(200, b"{}", Content_Type=content_type))


@pytest.mark.parametrize("content_type", ["text/event-stream;charset=utf-8", "Text/Event-Stream"])
async def test_content_type_may_have_parameters_and_any_case(content_type: str) -> None:
    body = sse(DONE).partition(b"\r\n\r\n")[2]

    assert len(await answer_to(http(200, body, Content_Type=content_type))) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
async def test_status_that_may_change_is_unavailable(status: int) -> None:
    answer = http(status, b"a secret of the target", Retry_After="7")

    with pytest.raises(AgentUnavailableError, match=f"answered {status}: it cannot") as caught:
        await answer_to(answer)
    assert "secret" not in str(caught.value)
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "²", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_retry_after_that_is_no_number_is_not_said(value: str) -> None:
    answer = b"HTTP/1.1 503 X\r\nConnection: close\r\nRetry-After: " + value.encode() + b"\r\n\r\n"

    with pytest.raises(AgentUnavailableError) as caught:
        await answer_to(answer)
    assert caught.value.retry_after is None


@pytest.mark.parametrize("status", [204, 400, 401, 404, 422])
async def test_other_status_is_the_agents_failure(status: int) -> None:
    body = b"" if status == 204 else b"a secret of the target"

    with pytest.raises(AgentFailedError, match=f"answered {status}: it did not") as caught:
        await answer_to(http(status, body))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirect_is_not_followed(status: int) -> None:
    async with raw_server() as canary:
        with pytest.raises(AgentFailedError, match="redirects are not followed"):
            await answer_to(http(status, Location=canary.url))

        assert canary.connections == 0


async def test_agent_that_is_not_there_is_unavailable() -> None:
    async with raw_server() as server:
        endpoint = server.url

    with pytest.raises(AgentUnavailableError, match="agent_1 cannot be reached"):
        await collect(endpoint)


async def test_agent_that_does_not_speak_http_is_unavailable() -> None:
    with pytest.raises(AgentUnavailableError, match="it broke HTTP") as caught:
        await answer_to(b"SSH-2.0-OpenSSH\r\n\r\n")
    assert "SSH" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        OverflowError("port must be 0-65535"),
        ValueError("odd"),
        UnicodeError("label too long"),
        httpx2.DecodingError("odd"),
        httpx2.TooManyRedirects("odd"),
        RuntimeError("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_else_the_http_stack_raises_is_the_agents_failure(error: Exception) -> None:
    def broken(_: httpx2.Request) -> httpx2.Response:
        raise error

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(broken)) as client:
        agent = HttpAgentInvoker(client, platform_base_url="")
        with pytest.raises(AgentFailedError, match="agent_1 cannot be asked") as caught:
            await anext(agent.stream(invocation("http://agent.test")))
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("port", [0, 65536, 99999, 10**30])
async def test_a_port_that_there_is_not_is_refused(port: int) -> None:
    with pytest.raises((AddressRefusedError, AgentFailedError)):
        await collect(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:7233", "http://169.254.169.254", "file:///x", "http://a:b@x.test"],
)
async def test_endpoint_that_may_not_be_contacted_is_refused(endpoint: str) -> None:
    async with invoker(allow=()) as agent:
        with pytest.raises(AddressRefusedError):
            await anext(agent.stream(invocation(endpoint)))


@pytest.mark.parametrize("tail", ["/x?y=", "/x?", "#", "/x#y", "?y=#z"])
async def test_endpoint_that_would_swallow_the_path_is_refused(tail: str) -> None:
    with pytest.raises(AddressRefusedError, match="no query and no fragment"):
        await collect(f"http://agent.test{tail}")


@pytest.mark.parametrize("endpoint", ["", "agent.test", "http://[::1", "http://", "x y"])
async def test_endpoint_that_is_no_url_is_refused(endpoint: str) -> None:
    with pytest.raises(AddressRefusedError):
        await collect(endpoint)


async def test_closing_the_iterator_closes_the_connection() -> None:
    async with raw_server({"/invoke": [sse(HELLO)]}, hold=True) as server, invoker() as agent:
        async with aclosing(open_stream(agent, server)) as chunks:
            assert await anext(chunks) == AgentDelta(text="Hello")
            assert not server.peer_gone.is_set()

        await asyncio.wait_for(server.peer_gone.wait(), 5)


async def test_deadline_of_the_caller_closes_the_connection_of_a_silent_agent() -> None:
    """Fault 34: an agent that never ends; the caller's deadline is all that ends it."""
    async with raw_server({"/invoke": [sse(HELLO)]}, hold=True) as server, invoker() as agent:
        with pytest.raises(TimeoutError):  # noqa: PT012 - the deadline is around the loop
            async with asyncio.timeout(0.2), aclosing(open_stream(agent, server)) as chunks:
                async for _ in chunks:
                    pass

        await asyncio.wait_for(server.peer_gone.wait(), 5)


async def test_connect_timeout_is_unavailable() -> None:
    async def stuck(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return [host, str(port)]

    async with guarded_client(AddressPolicy(), resolver=stuck) as client:
        agent = HttpAgentInvoker(
            client, platform_base_url="", limits=StreamLimits(connect_seconds=0.05)
        )
        with pytest.raises(AgentUnavailableError, match=r"no connection within 0\.05 s"):
            await anext(agent.stream(invocation("http://slow.test")))


async def test_example_agent_keeps_the_protocol() -> None:
    """The agent of 30 lines that the documentation shows."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "examples/agent_stdlib.py", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        endpoint = (await process.stdout.readline()).decode().split()[-1]
        chunks = await collect(endpoint)
        async with httpx2.AsyncClient() as client:
            health = (await client.get(f"{endpoint}/health")).json()
    finally:
        process.kill()
        await process.wait()

    assert chunks == [
        AgentState(state="thinking", detail="counting words"),
        *[AgentDelta(text=f"{word} ") for word in ("You", "said:", "hi", "there")],
        AgentDone(final_message="You said: hi there ", usage={"completion_tokens": 4}),
    ]
    assert health == {"status": "ok", "version": "1.0", "capabilities": ["echo"]}
