"""The stubs themselves: a rig that lies proves nothing."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx2
import pytest

from tests.stub.agent import StubAgent
from tests.stub.ledger import Ledger
from tests.stub.marks import parse_marks
from tests.stub.provider import Provider


@pytest.fixture
async def http() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=5, trust_env=False) as client:
        yield client


# Marks


def test_marks_add_up_and_later_ones_win() -> None:
    marks = parse_marks("[[tokens=5 stall]]", 'hi [[tokens=7 say="a b ]] c"]] there [[clock]]')

    assert marks.options == {"tokens": "7", "stall": True, "say": "a b ]] c", "clock": True}


def test_tools_are_kept_in_order_with_their_arguments() -> None:
    marks = parse_marks('[[tool=f args={"a": [[1]]}]] [[tool=g args="{broken"]] [[tool=h]]')

    assert marks.tools == [("f", '{"a": [[1]]}'), ("g", "{broken"), ("h", "{}")]


@pytest.mark.parametrize(("text", "size"), [("50MB", 50_000_000), ("2KiB", 2048), ("7", 7)])
def test_sizes_are_read_with_their_units(text: str, size: int) -> None:
    assert parse_marks(f"[[huge_text={text}]]").size("huge_text") == size


@pytest.mark.parametrize("text", ["[[tokens=5", "[[=5]]", "[[a ]b]]"])
def test_a_broken_mark_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="mark"):
        parse_marks(text)


# Provider


async def test_a_model_can_be_controlled_and_the_log_tells(http: httpx2.AsyncClient) -> None:
    async with Provider().serve() as server:
        await http.post(f"{server.url}/control", json={"m": "[[status=503]]"})
        body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        headers = {"x-api-key": "k"}
        refused = await http.post(f"{server.url}/v1/messages", json=body, headers=headers)
        await http.post(f"{server.url}/control", json={"m": ""})
        answered = await http.post(f"{server.url}/v1/messages", json=body, headers=headers)
        log = (await http.get(f"{server.url}/log")).json()["requests"]

    assert (refused.status_code, answered.status_code) == (503, 200)
    assert answered.text.count("event: message_stop") == 1
    assert [entry["outcome"] for entry in log] == ["refused", "answered"]
    assert "k" not in log[0]["headers"]


async def test_a_request_without_a_key_is_refused(http: httpx2.AsyncClient) -> None:
    async with Provider().serve() as server:
        body = {"model": "m", "messages": [], "stream": True}
        reply = await http.post(f"{server.url}/v1/chat/completions", json=body)
        models = (await http.get(f"{server.url}/v1/models")).json()
        health = await http.get(f"{server.url}/health")
        unknown = await http.get(f"{server.url}/nothing")
        reset = await http.post(f"{server.url}/reset")

    assert reply.status_code == 401
    assert models["data"][0]["id"] == "stub-model"
    assert (health.status_code, unknown.status_code, reset.status_code) == (200, 404, 200)


@pytest.mark.parametrize("name", ["provider", "ledger", "agent"])
def test_each_stub_runs_as_a_program_that_prints_its_port(name: str) -> None:
    command = [sys.executable, "-m", f"tests.stub.{name}", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        health = httpx2.get(f"{told['url']}/health", trust_env=False)
        process.terminate()

    assert told["url"].endswith(str(told["port"]))
    assert health.json()["status"] == "ok"


# Ledger


async def test_the_ledger_counts_arrivals_by_key(http: httpx2.AsyncClient) -> None:
    async with Ledger().serve() as server:
        for key in ("a", "b", "a"):
            await http.post(f"{server.url}/effect", json={"key": key, "tool": "t"})
        effects = (await http.get(f"{server.url}/ledger")).json()["effects"]

    assert effects == [
        {"key": "a", "tool": "t", "arrivals": 2, "answered": 2},
        {"key": "b", "tool": "t", "arrivals": 1, "answered": 1},
    ]


async def test_a_held_effect_is_counted_and_answered_on_release(http: httpx2.AsyncClient) -> None:
    ledger = Ledger()
    async with ledger.serve() as server:
        await http.post(f"{server.url}/hold", json={"key": "a"})
        post = http.post(f"{server.url}/effect", json={"key": "a", "tool": "t"})
        waiting = asyncio.ensure_future(post)
        await http.post(f"{server.url}/effect", json={"key": "b"})
        while not ledger.held:
            await http.get(f"{server.url}/health")
        arrived = (await http.get(f"{server.url}/ledger")).json()
        await http.post(f"{server.url}/release")
        reply = await waiting

    assert arrived["held"] == 1
    assert {(e["key"], e["arrivals"], e["answered"]) for e in arrived["effects"]} == {
        ("a", 1, 0),
        ("b", 1, 1),
    }
    assert reply.json() == {"key": "a", "arrivals": 1}


async def test_a_client_that_left_was_not_answered(http: httpx2.AsyncClient) -> None:
    ledger = Ledger()
    async with ledger.serve() as server:
        await http.post(f"{server.url}/hold")
        post = http.post(f"{server.url}/effect", json={"key": "a"})
        waiting = asyncio.ensure_future(post)
        while not ledger.held:
            await http.get(f"{server.url}/health")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await http.post(f"{server.url}/release")
        effect = (await http.get(f"{server.url}/ledger")).json()["effects"][0]
        await http.post(f"{server.url}/reset")

    assert (effect["arrivals"], effect["answered"]) == (1, 0)
    assert ledger.effects == {}


# Agent


async def invoke(http: httpx2.AsyncClient, url: str, said: str) -> list[tuple[str, object]]:
    body = {
        "agent_id": "a",
        "session_id": "s",
        "run_id": "run_1",
        "input_message": {"role": "user", "content": said},
        "messages": [],
    }
    text = (await http.post(f"{url}/invoke", json=body)).text
    blocks = [block.split("\n") for block in text.split("\n\n") if block]
    return [(b[0].removeprefix("event: "), json.loads(b[1].removeprefix("data: "))) for b in blocks]


async def test_the_agent_streams_and_ends_with_done(http: httpx2.AsyncClient) -> None:
    agent = StubAgent()
    async with agent.serve() as server:
        events = await invoke(http, server.url, "[[tokens=2 state=thinking detail=hard]]")

    assert events == [
        ("state", {"state": "thinking", "detail": "hard"}),
        ("delta", {"text": "t0 ", "run_id": "run_1"}),
        ("delta", {"text": "t1 ", "run_id": "run_1"}),
        (
            "done",
            {
                "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
                "final_message": "t0 t1 ",
            },
        ),
    ]
    assert agent.log[0]["outcome"] == "answered"


@pytest.mark.parametrize(
    ("marks", "kinds"),
    [
        ("no_done", ["delta"]),
        ("error=quota", ["delta", "error"]),
        ("dones=2", ["delta", "done", "done"]),
        ("after_done", ["delta", "done", "delta"]),
        ("malformed=types", ["delta", "delta", "done"]),
        ("malformed=event", ["delta", "surprise", "done"]),
        ("huge_line=100KB", ["delta", "delta", "done"]),
        ("wrong_run", ["delta", "done"]),
    ],
)
async def test_the_agent_misbehaves_on_command(
    http: httpx2.AsyncClient, marks: str, kinds: list[str]
) -> None:
    async with StubAgent().serve() as server:
        await http.post(f"{server.url}/control", json={"marks": f"[[say=x {marks}]]"})
        events = await invoke(http, server.url, "hello")

    assert [kind for kind, _ in events] == kinds


@pytest.mark.parametrize("marks", ["endless", "stall", "stall_after=0", "keepalive_only"])
async def test_an_agent_that_does_not_end_sees_its_client_leave(
    http: httpx2.AsyncClient, marks: str
) -> None:
    agent = StubAgent()
    async with agent.serve() as server:
        task = asyncio.ensure_future(invoke(http, server.url, f"[[{marks}]]"))
        while not agent.log:
            await http.get(f"{server.url}/health")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        while agent.log[0]["outcome"] == "open":
            await http.get(f"{server.url}/health")

    assert agent.log[0]["outcome"] == "client_closed"


async def test_an_agent_can_refuse_and_cut(http: httpx2.AsyncClient) -> None:
    agent = StubAgent()
    async with agent.serve() as server:
        body = {"input_message": {"content": "[[status=500]]"}}
        refused = await http.post(f"{server.url}/invoke", json=body)
        with pytest.raises(httpx2.RemoteProtocolError):
            await invoke(http, server.url, "[[reset_after=0]]")

    assert refused.status_code == 500
