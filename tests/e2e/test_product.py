"""What people do with the product: here on `orchestrator up`, on a cluster with the roles apart.

`make cluster CMD="--bare python -m pytest -m cluster tests/e2e"` is the second way: one API and two
workers against the `TEMPORAL_ADDRESS` and `DATABASE_URL` that it names.
"""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from adapters.llm.sse import SseParser
from bootstrap.children import Child
from bootstrap.commands.api import Api
from tests.e2e.program import PROGRAM, Run
from tests.tracing import CHILDREN

pytestmark = pytest.mark.cluster

CLUSTER = ("TEMPORAL_ADDRESS", "DATABASE_URL")
Json = dict[str, Any]


def settings(folder: Path, **extra: str) -> dict[str, str | None]:
    """Return a process's settings: a cluster where one is named, and nothing else of ours.

    Its lines are measured.
    """
    kept = (*CLUSTER, "ORCHESTRATOR_CACHE_DIR")
    foreign = ("TEMPORAL_", "ORCHESTRATOR_", "OPENAI_", "ANTHROPIC_", "OLLAMA_")
    none: dict[str, str | None] = {
        name: None for name in os.environ if name.startswith(foreign) and name not in kept
    }
    ports = ("ORCHESTRATOR_PORT", "ORCHESTRATOR_TEMPORAL_PORT", "ORCHESTRATOR_TEMPORAL_UI_PORT")
    free = dict.fromkeys(ports, "0")
    return {**none, **free, **CHILDREN, "ORCHESTRATOR_DATA_DIR": str(folder), **extra}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the product and return where its API is."""
    folder = tmp_path_factory.mktemp("product")
    is_cluster = all(name in os.environ for name in CLUSTER)
    roles = ["api", "worker", "worker"] if is_cluster else ["up"]
    queue = {"TEMPORAL_TASK_QUEUE": f"e2e-{secrets.token_hex(4)}"}
    children = [
        Child([role], folder / f"log-{at}", settings(folder / f"{role}-{at}", **queue))
        for at, role in enumerate(roles)
    ]
    try:
        said = [child.wait_ready() for child in children]
        assert said[0].api is not None
        yield said[0].api
    finally:
        for child in children:
            child.stop()


@pytest.fixture
def api(url: str) -> Iterator[Api]:
    with Api(url) as made:
        yield made


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    """Run a command against the product."""
    told = {**os.environ, **settings(tmp_path, ORCHESTRATOR_API_URL=url)}
    environment = {name: value for name, value in told.items() if value is not None}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


def script_agent(api: Api, *tools: str) -> str:
    agent_id = f"a-{secrets.token_hex(4)}"
    body = {"agent_id": agent_id, "name": agent_id, "models": ["offline/script"], "tools": tools}
    api.call("POST", "/v1/agents", body=body)
    return agent_id


def ended(api: Api, body: Json) -> Json:
    """Start a run and return it once it has ended."""
    return api.call("POST", "/v1/runs", body=body, params={"wait": 30})


def test_a_question_is_answered_on_the_terminal(run: Run) -> None:
    asked = run("run", "--agent", "math", "What is 6 * 7?")

    assert asked.returncode == 0, asked.stderr
    assert "42" in asked.stdout
    assert "DONE in" in asked.stderr


def test_a_run_with_a_tool_is_whole_in_its_log(api: Api) -> None:
    agent = script_agent(api, "calculator")
    script = 'call calculator {"expression": "6*7"}\n---\nsay it is {result}'

    found = ended(api, {"input": script, "agent_id": agent})

    assert found["state"] == "DONE", found
    assert "42" in found["output"]["content"]
    events = api.call("GET", f"/v1/runs/{found['run_id']}/events", params={"limit": 1000})["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    kinds = [event["type"] for event in events]
    assert kinds.count("tool_result") == kinds.count("run_done") == 1
    assert kinds[-1] == "run_done"


def test_a_viewer_that_comes_back_gets_the_exact_rest(api: Api) -> None:
    agent = script_agent(api)
    run_id = api.call("POST", "/v1/runs", body={"input": "tokens=30 gap_ms=20", "agent_id": agent})[
        "run_id"
    ]
    seen: list[int] = []
    for most in (4, 9, 10_000):
        headers = {"last-event-id": str(seen[-1])} if seen else {}
        seen += read_stream(api, run_id, headers, most)

    assert len(seen) >= 10
    assert all(after == before + 1 for before, after in pairwise(seen))
    assert seen[0] == 1


def read_stream(api: Api, run_id: str, headers: dict[str, str], most: int) -> list[int]:
    """Return the seqs of the first events of one connection."""
    parser, seqs = SseParser(), list[int]()
    with api.stream("GET", f"/v1/runs/{run_id}/events", headers=headers) as stream:
        for chunk in stream.iter_bytes():
            seqs += [json.loads(event.data)["seq"] for event in parser.feed(chunk)]
            if len(seqs) >= most:
                break
    return seqs[:most]


def test_messages_of_a_session_take_turns(api: Api) -> None:
    agent, session = script_agent(api), f"s-{secrets.token_hex(4)}"
    bodies = [
        {"input": f"say word{at}", "agent_id": agent, "session_id": session} for at in range(6)
    ]
    with ThreadPoolExecutor(6) as pool:
        runs = list(pool.map(lambda body: ended(api, body), bodies))

    assert {found["state"] for found in runs} == {"DONE"}
    messages = api.call("GET", f"/v1/sessions/{session}/messages")["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 6
    for question, answer in zip(messages[::2], messages[1::2], strict=True):
        assert question["run_id"] == answer["run_id"]
        assert question["content"].removeprefix("say ") in answer["content"]


def test_a_start_that_is_repeated_is_one_run(api: Api, url: str) -> None:
    agent, key = script_agent(api), secrets.token_hex(8)
    body = {"input": "say once", "agent_id": agent}

    with ThreadPoolExecutor(8) as pool:
        runs = set(pool.map(lambda _: started_with(url, key, body), range(8)))

    assert len(runs) == 1
    assert len(api.call("GET", "/v1/runs", params={"agent_id": agent})["runs"]) == 1


def started_with(url: str, key: str, body: Json) -> str:
    headers = {"idempotency-key": key}
    with Api(url) as api, api.stream("POST", "/v1/runs", headers=headers, body=body) as answer:
        return str(answer.headers["location"])


def test_cancel_stops_a_run_in_mid_answer(api: Api) -> None:
    agent = script_agent(api)
    run_id = api.call(
        "POST", "/v1/runs", body={"input": "tokens=2000 gap_ms=20", "agent_id": agent}
    )["run_id"]
    read_stream(api, run_id, {}, 4)

    api.call("POST", f"/v1/runs/{run_id}/cancel", body={"reason": "enough"})

    seqs = read_stream(api, run_id, {}, 10_000)
    assert api.call("GET", f"/v1/runs/{run_id}")["state"] == "CANCELLED"
    assert seqs == list(range(1, len(seqs) + 1))


def test_whole_numbers_of_any_length_are_computed_exactly_on_every_way(api: Api) -> None:
    product = 123456789012345678 * 987654321098765432
    args = {"operation": "multiply", "a": 123456789012345678, "b": 987654321098765432}
    pool = {"tool_name": "calculator", "params": args}
    question = "123456789012345678 * 987654321098765432"

    invoked = api.call("POST", "/v1/tools/calculator/invoke", body={"args": args})
    asked = api.call("POST", "/api/v1/request", body=pool)
    answered = ended(api, {"input": question, "agent_id": "math"})

    assert [said["result"] for said in (invoked, asked)] == [{"result": product}] * 2
    assert str(product) in answered["output"]["content"]


def test_a_tool_alone_is_a_durable_run(run: Run, api: Api) -> None:
    body = {"args": {"expression": "2**10"}}
    said = api.call("POST", "/v1/tools/calculator/invoke", body=body)

    assert (said["status"], "1024" in json.dumps(said["result"])) == ("succeeded", True)
    shown = run("runs", "show", said["run_id"], "--json")
    assert json.loads(shown.stdout)["kind"] == "tool", shown.stderr
