"""The commands that the README and the quickstart show, run as they stand.

Only the address is another: the orchestrator under test listens on a port of its own. `make demo`
is run by `test_demo.py`; `make test` is what runs this.
"""

import json
import re
import shlex
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.child import REPO, Child, wait_until

PAGES = (REPO / "README.md", REPO / "docs" / "quickstart.md")
AGENTS_PAGE = REPO / "docs" / "howto" / "external-agents.md"
DOCUMENTED = "localhost:8080"
AGENT_PORT = 8000


def commands(page: Path) -> list[str]:
    """Return the commands of a page's console blocks, with continued lines joined."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page.read_text(), re.DOTALL):
        joined = block.replace("\\\n", " ")
        found += [
            line[2:].partition("  # ")[0].strip()
            for line in joined.splitlines()
            if line[:2] == "$ "
        ]
    return found


def of_kind(program: str) -> list[str]:
    lines = [line for page in PAGES for line in commands(page)]
    return sorted({line for line in lines if line.split()[0].endswith(program)})


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve as `make up` does, on free ports."""
    folder = tmp_path_factory.mktemp("readme")
    free = {f"ORCHESTRATOR_{name}PORT": "0" for name in ("", "TEMPORAL_", "TEMPORAL_UI_")}
    settings = {**free, "ORCHESTRATOR_DATA_DIR": str(folder / "data")}
    command = [sys.executable, "-P", "-m", "bootstrap.cli", "up"]
    child = Child("up", command, folder / "up.log", settings)
    ready = folder / "data" / "endpoints.json"
    try:
        wait_until("the orchestrator serves", ready.exists, 60, child)
        yield str(json.loads(ready.read_text())["api"]).removeprefix("http://")
        child.terminate(15)
    finally:
        child.close()


def test_the_pages_show_commands_of_every_kind() -> None:
    assert len(of_kind("make")) >= 5
    assert len(of_kind("curl")) >= 4
    assert len(of_kind("orchestrator")) >= 1


@pytest.mark.parametrize("line", of_kind("make"))
def test_every_make_target_that_is_shown_exists(line: str) -> None:
    target = shlex.split(line)[1]

    done = subprocess.run(
        ["make", "--dry-run", target], cwd=REPO, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("line", of_kind("curl"))
def test_every_request_that_is_shown_is_answered(line: str, address: str) -> None:
    spoken = shlex.split(line.replace(DOCUMENTED, address).replace("RUN_ID", a_run(address)))

    done = subprocess.run(
        [*spoken, "--silent", "--show-error", "--fail-with-body", "--max-time", "30"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    if "text/event-stream" in line:
        assert "event: run_done" in done.stdout
    else:
        assert isinstance(json.loads(done.stdout), dict)


@pytest.mark.parametrize("line", of_kind("orchestrator"))
def test_every_command_that_is_shown_works(line: str, address: str) -> None:
    arguments = shlex.split(line)[1:]

    done = subprocess.run(
        [sys.executable, "-P", "-m", "bootstrap.cli", *arguments, "--api-url", f"http://{address}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def a_run(address: str) -> str:
    """Start a run, wait for its end and return its id."""
    request = urllib.request.Request(
        f"http://{address}/v1/runs?wait=30",
        data=json.dumps({"input": "What is 1 + 1?"}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        run = json.load(reply)
    assert run["state"] == "DONE"
    return str(run["run_id"])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """Start the example as its page says; on another port only where that one is taken."""
    (line,) = [line for line in commands(AGENTS_PAGE) if "agent_stdlib.py" in line]
    _, script, *rest = shlex.split(line)
    port = [] if _is_free(AGENT_PORT) else ["0"]
    log = tmp_path / "agent.log"
    child = Child("agent", [sys.executable, str(REPO / script), *rest, *port], log, {})
    try:
        wait_until("the agent listens", lambda: "agent on" in log.read_text(), 20, child)
        yield log.read_text().split()[-1].rpartition(":")[2]
    finally:
        child.close()


def test_an_external_agent_is_connected_by_the_commands_of_its_page(
    address: str, agent: str
) -> None:
    lines = [line for line in commands(AGENTS_PAGE) if line.startswith("curl")]

    said = []
    for line in lines:
        ours = line.replace(DOCUMENTED, address).replace(
            f"localhost:{AGENT_PORT}", f"localhost:{agent}"
        )
        done = subprocess.run(
            [*shlex.split(ours), "-sS"], capture_output=True, text=True, timeout=60, check=True
        )
        said.append(json.loads(done.stdout))

    assert said[0]["agent_id"] == said[1]["agent_id"] == "demo_agent"
    assert said[1]["output"]["content"].strip() == "You said: Hello"
