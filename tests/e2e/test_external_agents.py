"""The agents of `examples/` beside the running product: registered, healthy, asked, asking.

Each is a process of its own, in the language that it is written in.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bootstrap.commands.api import Api
from tests.e2e.forked import ForkedServer
from tests.e2e.program import settings_for

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE_SECONDS = 60.0
Json = dict[str, Any]
Start = Callable[..., str]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the product and return where its API is."""
    folder = tmp_path_factory.mktemp("agents")
    quick = {"ORCHESTRATOR_AGENT_CHECK_SECONDS": "0.2"}
    child = ForkedServer(["up"], folder / "log", settings_for(folder, **quick))
    try:
        yield str(child.wait_ready().api)
    finally:
        child.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an agent and return where it is."""
    started: list[subprocess.Popen[str]] = []

    def run(*command: str) -> str:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path)
        started.append(process)
        assert process.stdout is not None
        return process.stdout.readline().split()[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def built(name: str, tmp_path: Path) -> tuple[str, ...]:
    """Return the command that an example is started with; Go is compiled first."""
    if name.endswith(".py"):
        return sys.executable, str(EXAMPLES / name)
    tool = shutil.which("node" if name.endswith(".mjs") else "go")
    if tool is None:
        pytest.skip(f"what runs {name} is not on this machine")
    if name.endswith(".mjs"):
        return tool, str(EXAMPLES / name)
    program = str(tmp_path / "agent")
    offline = {**os.environ, "GOPROXY": "off"}
    # As the Temporal server is built: the standard library is compiled already, a minute of CPU.
    command = [tool, "build", "-trimpath", "-buildvcs=false", "-o", program, str(EXAMPLES / name)]
    subprocess.run(command, env=offline, check=True, timeout=300)
    return (program,)


def until_healthy(api: Api, agent_id: str) -> Json:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        agent: Json = api.call("GET", f"/v1/agents/{agent_id}")
        if agent["health"]["status"] == "healthy":
            return agent
        assert time.monotonic() < end, f"agent {agent_id} is never seen: {agent['health']}"
        time.sleep(0.05)


def ask(api: Api, agent_id: str, text: str) -> Json:
    body = {"agent_id": agent_id, "input": text}
    run: Json = api.call("POST", "/v1/runs", body=body, params={"wait": 60})
    assert run["state"] == "DONE", run["error"]
    return run


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "begins", "version"),
    [
        ("agent_stdlib.py", "You said: ", "1.0"),
        ("agent_node.mjs", "Node heard: ", "v"),
        ("agent_go.go", "Go heard: ", "1.0"),
    ],
)
def test_an_example_agent_is_registered_found_healthy_and_asked(
    url: str, start: Start, tmp_path: Path, name: str, begins: str, version: str
) -> None:
    endpoint = start(*built(name, tmp_path), "0")
    agent_id = name.partition(".")[0]

    with Api(url) as api:
        body = {"agent_id": agent_id, "name": name, "endpoint": endpoint}
        made = api.call("POST", "/v1/agents/register", body=body)
        agent = until_healthy(api, agent_id)
        run = ask(api, agent_id, "Hello, wörld")
        log = api.call("GET", f"/v1/runs/{run['run_id']}/events")["events"]

    assert made["token"].startswith("orch_")
    assert agent["health"]["version"].startswith(version)
    assert agent["health"]["capabilities"] == ["echo"]
    assert run["output"]["content"].strip() == f"{begins}Hello, wörld"
    deltas = [e["data"]["text"] for e in log if e["type"] == "agent_stream_delta"]
    assert "".join(deltas) == run["output"]["content"]


@pytest.mark.timeout(300)
def test_an_agent_of_the_kit_registers_beats_uses_a_tool_and_asks_another(
    url: str, start: Start
) -> None:
    """The whole of it: its token is good for what its handler does, and for no more."""
    start(sys.executable, str(EXAMPLES / "agent_kit.py"), "0", url)

    with Api(url) as api:
        until_healthy(api, "tutor")
        run = ask(api, "tutor", "6 * 7")
        children = api.call("GET", f"/v1/runs/{run['run_id']}/children")["runs"]
        log = api.call("GET", f"/v1/runs/{run['run_id']}/events")["events"]
        keys = api.call("GET", "/v1/keys")["keys"]

    assert run["output"]["content"].startswith("6 * 7 is 42. ")
    assert {child["kind"]: child["state"] for child in children} == {
        "tool": "DONE",
        "agent": "DONE",
    }
    (asked,) = [child for child in children if child["kind"] == "agent"]
    assert asked["agent_id"] == "assistant"
    assert asked["output"]["content"] in run["output"]["content"]
    kinds = [event["type"] for event in log]
    assert "agent_state" in kinds
    assert "agent_spawned" in kinds
    assert [key["agent_id"] for key in keys if key["agent_id"] == "tutor"] == ["tutor"]
    assert "orch_" not in json.dumps(log)


@pytest.mark.timeout(300)
def test_an_agent_of_the_kit_that_raises_ends_the_run_with_its_words(
    url: str, start: Start
) -> None:
    start(sys.executable, str(EXAMPLES / "agent_kit.py"), "0", url)

    with Api(url) as api:
        until_healthy(api, "tutor")
        body = {"agent_id": "tutor", "input": "no sum at all"}
        run = api.call("POST", "/v1/runs", body=body, params={"wait": 60})

    assert run["state"] == "FAILED"
    assert run["error"]["code"] == "agent_error"
    assert "tool_failed" in run["error"]["message"]
