"""A tool host against an API that forgets it, answers late, or wants nothing any more."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from adapters.tools.decorator import FunctionTool, tool
from adapters.tools.registry import ToolRegistry
from bootstrap.commands.failure import CommandError
from bootstrap.toolhost import Host, HostOptions, run_host
from domain.errors import ToolFailedError, TransientError
from domain.tool import Effect

OPTIONS = HostOptions(host_id="laptop", lease_seconds=0.03, parallel=1, drain_seconds=1)
TRIES: list[str] = []


@tool
async def echo(text: str) -> str:
    """Say it again."""
    return text


@tool
async def as_data(text: str) -> dict[str, str]:
    """Say it as an object."""
    return {"said": text}


@tool
async def refuse(text: str) -> str:
    """Refuse."""
    raise ToolFailedError("no paper")


@tool(attempts=2)
async def flaky(text: str) -> str:
    """Fail once, and say that nothing happened."""
    TRIES.append(text)
    if len(TRIES) < 2:
        raise TransientError("busy; nothing happened")
    return "at last"


@tool(attempts=1)
async def never(text: str) -> str:
    """Say that nothing happened, for ever."""
    raise TransientError("busy; nothing happened")


@tool(effect=Effect.UNSAFE)
async def explode(text: str) -> str:
    """Fail in a way that nobody foresaw."""
    raise ConnectionResetError("the line broke")


@tool(effect=Effect.NONE)
async def explode_safely(text: str) -> str:
    """Fail in a way that nobody foresaw, without harm."""
    raise ConnectionResetError


@tool(effect=Effect.UNSAFE, timeout_seconds=0.02)
async def hang(text: str) -> str:
    """Never answer."""
    await asyncio.Event().wait()
    return text


TOOLS = [echo, as_data, refuse, flaky, never, explode, explode_safely, hang]


class StubApi:
    """Hands one request out, then nothing; notes what it is sent."""

    def __init__(self, name: str, **trouble: Any) -> None:
        self.name = name
        self.trouble = trouble
        self.seen: list[tuple[str, dict[str, Any], str]] = []
        self.submitted = asyncio.Event()
        self.polled = 0

    async def handle(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content or b"{}")
        what = request.url.path.rpartition("/")[2]
        self.seen.append((what, body, request.headers.get("idempotency-key", "")))
        method: Callable[[dict[str, Any]], Any] = getattr(self, f"_{what}", self._other)
        answer = await method(body)
        if isinstance(answer, int):
            problem = {"type": "urn:orchestrator:error:x", "title": "x", "detail": "not wanted"}
            return httpx2.Response(answer, json=problem)
        return httpx2.Response(200, json=answer)

    async def _poll(self, _body: dict[str, Any]) -> Any:
        self.polled += 1
        if self.trouble.get("polls"):
            return self.trouble["polls"].pop(0)
        if any(what == "submit" for what, _, _ in self.seen) or self.polled > 20:
            await asyncio.Event().wait()
        request = {
            "tool_call_id": "tc_1",
            "run_id": "run_1",
            "tool_name": self.name,
            "args": {"text": "hello"},
            "idempotency_key": "run_1:tc_1",
            "token": "dt_1",
        }
        return {"requests": [request]}

    async def _heartbeat(self, body: dict[str, Any]) -> Any:
        lost = body["tool_calls"] if self.trouble.get("loses") else []
        if lost:
            self.submitted.set()
        return {"lost": lost}

    async def _submit(self, _body: dict[str, Any]) -> Any:
        self.submitted.set()
        return self.trouble.get("submit", {})

    async def _other(self, _body: dict[str, Any]) -> Any:
        return {}

    def sent(self, what: str) -> list[dict[str, Any]]:
        return [body for name, body, _ in self.seen if name == what]


async def host(api: StubApi, *tools: FunctionTool) -> None:
    """Serve until a result was sent."""
    stopping = asyncio.Event()
    transport = httpx2.MockTransport(api.handle)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        serving = asyncio.create_task(
            Host(client, ToolRegistry(tools or TOOLS), OPTIONS).serve(stopping)
        )
        waiting = asyncio.create_task(api.submitted.wait())
        async with asyncio.timeout(10):
            await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
            stopping.set()
            await serving


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("echo", {"result": "hello"}),
        ("as_data", {"result": {"said": "hello"}}),
        ("refuse", {"error": {"code": "tool_error", "message": "no paper"}}),
        ("never", {"error": {"code": "temporarily_unavailable"}}),
        ("explode", {"error": {"code": "outcome_unknown"}}),
        ("explode_safely", {"error": {"code": "tool_error"}}),
        ("hang", {"error": {"code": "outcome_unknown", "message": "hang was cut after 0.02 s"}}),
        ("flaky", {"result": "at last"}),
    ],
)
async def test_a_result_says_what_is_known(name: str, said: dict[str, Any]) -> None:
    TRIES.clear()
    api = StubApi(name)

    await host(api)

    (body,) = api.sent("submit")
    assert body.pop("token") == "dt_1"
    if "error" in said:
        assert said["error"].items() <= body["error"].items()
    else:
        assert body == said


async def test_a_host_declares_what_its_functions_say() -> None:
    api = StubApi("echo")

    await host(api, echo, explode)

    (body,) = api.sent("laptop")
    assert [(one["name"], one["effect"]) for one in body["tools"]] == [
        ("echo", "none"),
        ("explode", "unsafe"),
    ]
    assert body["tools"][0]["parameters"]["required"] == ["text"]


async def test_a_poll_that_is_repeated_keeps_its_key() -> None:
    api = StubApi("echo", polls=[503, 503])

    await host(api)

    keys = [key for what, _, key in api.seen if what == "poll"][:3]
    assert len(set(keys)) == 1
    assert keys[0]


async def test_a_host_that_was_forgotten_registers_again() -> None:
    api = StubApi("echo", polls=[404])

    await host(api)

    assert len(api.sent("laptop")) == 2


async def test_a_result_that_is_not_wanted_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    await host(StubApi("echo", submit=409))

    assert "not wanted" in capsys.readouterr().err


async def test_a_call_that_was_lost_is_stopped() -> None:
    @tool
    async def wait_long(text: str) -> str:
        """Wait."""
        await asyncio.Event().wait()
        return text

    api = StubApi("wait_long", loses=True)

    await host(api, wait_long)

    assert api.sent("submit") == []


async def test_a_host_that_is_refused_says_why_and_ends() -> None:
    with pytest.raises(CommandError, match="not wanted"):
        await host(StubApi("echo", polls=[403]))


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    asked: list[bytes] = []

    async def refuse_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse_all, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(10):
            with pytest.raises(CommandError):
                await run_host(url, None, ToolRegistry(TOOLS), OPTIONS, asyncio.Event())

    assert asked
    assert asked[0].partition(b" ")[2].startswith(b"/v1/")
