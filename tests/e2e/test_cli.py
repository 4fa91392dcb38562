"""The command line as people use it: real processes, the real server, real signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bootstrap.children import Child, Serving
from bootstrap.commands.api import Api
from bootstrap.commands.failure import CommandError
from bootstrap.commands.servers import _IN_USE
from bootstrap.devserver.lock import find_process
from tests.rig.temporal import note_other_version

PROGRAM = [sys.executable, "-P", "-m", "bootstrap.cli"]
FOREIGN = ("TEMPORAL_", "ORCHESTRATOR_", "OPENAI_", "ANTHROPIC_", "OLLAMA_", "DATABASE_")
SLOW = {"agent_id": "slow", "name": "Slow", "models": ["offline/script"]}

Run = Callable[..., subprocess.CompletedProcess[str]]


def settings_for(folder: Path, **extra: str) -> dict[str, str | None]:
    """Return what a process of ours is told: nothing of this machine's settings, and a folder."""
    cache = os.environ.get("ORCHESTRATOR_CACHE_DIR")
    foreign: dict[str, str | None] = {name: None for name in os.environ if name.startswith(FOREIGN)}
    return {
        **foreign,
        "ORCHESTRATOR_CACHE_DIR": cache,
        "ORCHESTRATOR_DATA_DIR": str(folder / "data"),
        "ORCHESTRATOR_PORT": "0",
        "ORCHESTRATOR_TEMPORAL_PORT": "0",
        "ORCHESTRATOR_TEMPORAL_UI_PORT": "0",
        "ORCHESTRATOR_LOG_FORMAT": "json",
        **extra,
    }


def environment(folder: Path, **extra: str) -> dict[str, str]:
    merged = {**os.environ, **settings_for(folder, **extra)}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command to its end."""

    def command(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=environment(tmp_path, **extra),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return command


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start `orchestrator up` on the test's folder; whatever was started is stopped."""
    started: list[Child] = []

    def start(*role: str, **extra: str) -> Child:
        child = Child([*(role or ("up",))], tmp_path / "log", settings_for(tmp_path, **extra))
        started.append(child)
        return child

    yield start
    for child in reversed(started):
        child.stop()


def temporal_of(child: Child) -> int:
    """Return the process id of a child's Temporal server."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(child.pid)],
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [line for line in found.stdout.splitlines() if "start-dev" in line]
    return int(line.split()[0])


def get(url: str) -> tuple[int, Any]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.status, json.loads(answer.read())


# ------------------------------------------------------------------ processes


def test_up_serves_says_where_and_leaves_nothing_behind(
    up: Callable[..., Child], tmp_path: Path
) -> None:
    child = up()
    serving = child.wait_ready()
    endpoints = tmp_path / "data" / "endpoints.json"

    assert json.loads(endpoints.read_text()) == {
        "api": serving.api,
        "temporal": serving.temporal,
        "temporal_ui": serving.temporal_ui,
        "pid": child.pid,
    }
    assert get(f"{serving.api}/readyz")[0] == 200
    assert serving.providers == ("offline",)
    server = temporal_of(child)

    assert child.stop() == 0
    assert not endpoints.exists()
    assert find_process(server) is None


def test_ctrl_c_stops_in_order(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "up"],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    banner = ""
    while "Ctrl-C stops" not in banner:
        line = process.stdout.readline()
        assert line, banner
        banner += line

    process.send_signal(signal.SIGINT)

    rest, _ = process.communicate(timeout=15)
    assert process.returncode == 0
    assert rest == ""
    for fact in ("API ", "/docs", "Temporal UI", str(tmp_path / "data"), "offline"):
        assert fact in banner


def test_it_refuses_to_listen_elsewhere_without_a_key(run: Run) -> None:
    """Attack 1."""
    refused = run("up", "--host", "0.0.0.0")

    assert refused.returncode == 1
    assert "Refusing to listen on 0.0.0.0 without an API key" in refused.stderr
    assert refused.stdout == ""


def test_with_a_key_it_listens_elsewhere_and_asks_for_it(
    run: Run, up: Callable[..., Child]
) -> None:
    key = run("keys", "create", "ops", "--scope", "admin").stdout.strip()

    up(ORCHESTRATOR_HOST="0.0.0.0").wait_ready()

    assert run("runs", "list").returncode == 1
    assert run("runs", "list", ORCHESTRATOR_API_KEY=key).returncode == 0


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"ORCHESTRATOR_PORT": "x"}, "ORCHESTRATOR_PORT"),
        ({"ORCHESTRATOR_DATA_DIR": "/proc/nowhere"}, "set ORCHESTRATOR_DATA_DIR"),
        ({"ORCHESTRATOR_TEMPORAL_PORT": "45991", "ORCHESTRATOR_TEMPORAL_UI_PORT": "45991"}, "UI"),
        ({"DATABASE_URL": "mysql://h/db"}, "mysql"),
        ({"ORCHESTRATOR_LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"TEMPORAL_ADDRESS": "127.0.0.1:1"}, "does not answer"),
        ({"TEMPORAL_CLI_PATH": "/nowhere/temporal"}, "TEMPORAL_CLI_PATH"),
        ({"ORCHESTRATOR_TOOLS": "nowhere:nothing"}, "nowhere"),
    ],
)
def test_what_keeps_it_from_starting_is_one_clear_sentence(
    run: Run, extra: dict[str, str], said: str
) -> None:
    failed = run("up", **extra)

    last = failed.stderr.rstrip("\n").rpartition("\n")[2]
    assert failed.returncode == 1
    assert last.startswith("Error: ")
    assert said in last
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("role", ["api", "worker"])
def test_a_role_apart_says_which_server_it_misses(run: Run, role: str) -> None:
    failed = run(role)

    assert failed.returncode == 1
    assert "the Temporal server at localhost:7233 does not answer" in failed.stderr
    assert "TEMPORAL_ADDRESS" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_restart_of_lost_runs_survives_a_crash(up: Callable[..., Child], tmp_path: Path) -> None:
    """Killed between the old file's move and the new starts; the next start needs no option."""
    first = up()
    serving = first.wait_ready()
    register_slow(serving)
    with Api(str(serving.api)) as api:
        body = {"input": "tokens=400 gap_ms=20", "agent_id": "slow"}
        run_id = api.call("POST", "/v1/runs", body=body)["run_id"]
    wait_for_deltas(serving, 2)
    first.kill()
    note_other_version(tmp_path / "data" / "temporal.db")
    broken = up("up", "--restart-unfinished")
    while not (tmp_path / "data" / "temporal.db.1.30.0").exists():
        assert broken.is_running
    broken.kill()

    again = up().wait_ready()

    with Api(str(again.api)) as api:
        found = api.call("GET", f"/v1/runs/{run_id}")
        assert (found["state"], found["error"]) == ("RUNNING", None)
        wait_for_deltas(again, 5)
        api.call("POST", f"/v1/runs/{run_id}/cancel")


def test_a_mistake_in_the_agents_file_is_one_clear_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "agents.toml").write_text("[agents.a]\ncolour = 1\n")

    failed = run("up")

    assert failed.returncode == 1
    assert "agents.toml, line 2: a.colour: unknown key" in failed.stderr


def test_two_on_one_folder_are_refused(run: Run, up: Callable[..., Child]) -> None:
    up().wait_ready()

    refused = run("up")

    last = refused.stderr.rstrip("\n").rpartition("\n")[2]
    assert refused.returncode == 1
    assert last.startswith("Error: ")
    assert _IN_USE in last


# ------------------------------------------------------------------ logs


def test_stdout_holds_the_one_line_and_every_line_of_the_log_parses(
    up: Callable[..., Child], tmp_path: Path
) -> None:
    """Attack 30 from outside, and the SDK's core, which would write to stdout, heard in the log."""
    child = up(ORCHESTRATOR_LOG_LEVEL="debug")
    serving = child.wait_ready()
    send_nasty_requests(serving)
    os.kill(temporal_of(child), signal.SIGKILL)
    wait_for_line(tmp_path / "log", "the Temporal server died")
    run_something(serving)

    assert child.stop() == 0
    assert child.read_rest() == b""
    for line in (tmp_path / "log").read_bytes().splitlines():
        assert isinstance(json.loads(line), dict)
        assert not any(byte < 32 or byte == 127 for byte in line)


def send_nasty_requests(serving: Serving) -> None:
    with Api(str(serving.api)) as api:
        for text in ("%0d%0aforged", "%1b%5b2J", "%e2%80%ae", "%00"):
            with pytest.raises(CommandError):
                api.call("GET", f"/v1/runs/{text}")
        body = {"input": "x\r\n\x1b[2Jforged\u202e", "agent_id": "assistant"}
        api.call("POST", "/v1/runs?wait=20", body=body)


def run_something(serving: Serving) -> None:
    with Api(str(serving.api)) as api:
        body = {"input": "still there?", "agent_id": "assistant"}
        run = api.call("POST", "/v1/runs", params={"wait": 30}, body=body)
    assert run["state"] == "DONE"


def wait_for_line(log: Path, text: str) -> None:
    """Poll a log that another process writes; pytest's time-out ends a wait in vain."""
    while text not in log.read_text():
        threading.Event().wait(0.02)


def test_the_log_can_be_watched_over_http(up: Callable[..., Child]) -> None:
    serving = up().wait_ready()
    with Api(str(serving.api)) as api, api.stream("GET", "/v1/logs/stream", headers={}) as stream:
        chunks = stream.iter_bytes()
        next(chunks)
        with Api(str(serving.api)) as other:
            other.call("POST", "/v1/runs", params={"wait": 10}, body={"input": "watch me"})

        seen = b""
        while b"POST /v1/runs" not in seen:
            seen += next(chunks)

    assert b"event: log\ndata: {" in seen


# ------------------------------------------------------------------ run


def test_run_starts_an_orchestrator_when_none_runs_and_ends_it(run: Run, tmp_path: Path) -> None:
    asked = run("run", "What is 6 * 7?")

    assert (asked.returncode, asked.stdout) == (0, "[offline] 6 * 7 = 42.\n")
    assert not (tmp_path / "data" / "endpoints.json").exists()


def test_run_uses_the_orchestrator_that_runs(run: Run, up: Callable[..., Child]) -> None:
    child = up()
    child.wait_ready()

    first = json.loads(run("run", "--session", "s", "--json", "I like green tea.").stdout)
    run("run", "--session", "s", "And what do I like?")

    assert first["state"] == "DONE"
    assert child.is_running
    listed = json.loads(run("runs", "list", "--json").stdout)
    assert [one["session_id"] for one in listed] == ["s", "s"]
    messages = run("sessions", "messages", "s").stdout
    assert messages.count("assistant") >= 2
    assert "green tea" in messages


def ask_slowly(tmp_path: Path, *options: str, words: int = 60) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PROGRAM, "run", "--agent", "slow", f"tokens={words} gap_ms=30", *options],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores Ctrl-C, and so would what the tests start there.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    )


def check_answer(asked: subprocess.Popen[str]) -> None:
    out, err = asked.communicate(timeout=60)
    words = " ".join(f"t{at}" for at in range(60))
    assert (asked.returncode, out) == (0, f"[offline] {words}\n"), err
    assert err.count("connecting again") == 1


def test_run_starts_an_orchestrator_when_the_one_it_used_was_killed(
    up: Callable[..., Child], tmp_path: Path
) -> None:
    """SIGKILL of everything in mid-stream; the command itself brings it back."""
    first = up()
    serving = first.wait_ready()
    register_slow(serving)
    asked = ask_slowly(tmp_path)
    wait_for_deltas(serving, 10)

    first.kill()

    check_answer(asked)


def test_run_goes_on_with_the_orchestrator_that_comes_back(
    up: Callable[..., Child], tmp_path: Path
) -> None:
    """SIGKILL of everything in mid-stream, and somebody starts it again at the same address."""
    port = str(free_port())
    first = up(ORCHESTRATOR_PORT=port)
    serving = first.wait_ready()
    register_slow(serving)
    asked = ask_slowly(tmp_path, "--api-url", str(serving.api))
    wait_for_deltas(serving, 10)

    first.kill()
    up(ORCHESTRATOR_PORT=port).wait_ready()

    check_answer(asked)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def register_slow(serving: Serving) -> None:
    with Api(str(serving.api)) as api:
        api.call("POST", "/v1/agents", body=SLOW)


def wait_for_deltas(serving: Serving, count: int) -> None:
    """Watch the newest run until it has streamed that much."""
    with Api(str(serving.api)) as api:
        while not (runs := api.call("GET", "/v1/runs")["runs"]):
            time.sleep(0.02)
        path = f"/v1/runs/{runs[0]['run_id']}/events"
        with api.stream("GET", path, headers={}) as stream:
            seen = b""
            for chunk in stream.iter_bytes():
                seen += chunk
                if seen.count(b"event: agent_stream_delta") >= count:
                    return


def test_ctrl_c_leaves_the_run_and_says_how_to_come_back(
    run: Run, up: Callable[..., Child], tmp_path: Path
) -> None:
    serving = up().wait_ready()
    register_slow(serving)
    asked = ask_slowly(tmp_path, words=300)
    wait_for_deltas(serving, 3)

    asked.send_signal(signal.SIGINT)

    _, err = asked.communicate(timeout=10)
    assert asked.returncode == 130
    command = err.strip().rpartition("orchestrator ")[2].split()
    assert command[:2] == ["runs", "tail"]
    assert "run_done" in run(*command).stdout


def test_doctor_is_content_with_what_the_tests_run_on(run: Run) -> None:
    looked = run("doctor")

    assert looked.returncode == 0, looked.stdout
