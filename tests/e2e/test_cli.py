"""The command line as people use it: real processes, the real server, real signals."""

import json
import os
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootstrap.children import Child, Serving
from bootstrap.commands.api import Api
from bootstrap.commands.failure import CommandError
from bootstrap.commands.servers import _IN_USE
from bootstrap.devserver.lock import find_process
from tests.e2e.program import Run, environment, register_slow, wait_for_deltas
from tests.rig.forked import Forked
from tests.rig.temporal import note_other_version


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
    plain_up: Callable[..., Child], tmp_path: Path
) -> None:
    child = plain_up()
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
    process = Forked(
        ["up"],
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
        ({"ORCHESTRATOR_LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"TEMPORAL_CLI_PATH": "/nowhere/temporal"}, "TEMPORAL_CLI_PATH"),
    ],
)
def test_what_is_seen_before_the_imports_is_one_clear_sentence(
    plain_run: Run, extra: dict[str, str], said: str
) -> None:
    check_sentence(plain_run("up", **extra), said)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"DATABASE_URL": "mysql://h/db"}, "mysql"),
        ({"TEMPORAL_ADDRESS": "127.0.0.1:1"}, "does not answer"),
        ({"ORCHESTRATOR_TOOLS": "nowhere:nothing"}, "nowhere"),
    ],
)
def test_what_keeps_it_from_starting_is_one_clear_sentence(
    run: Run, extra: dict[str, str], said: str
) -> None:
    check_sentence(run("up", **extra), said)


def check_sentence(failed: subprocess.CompletedProcess[str], said: str) -> None:
    last = failed.stderr.rstrip("\n").rpartition("\n")[2]
    assert failed.returncode == 1
    assert last.startswith("Error: ")
    assert said in last
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("role", ["api", "worker"])
def test_a_role_apart_says_which_server_it_misses(plain_run: Run, role: str) -> None:
    failed = plain_run(role)

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
    wait_for_deltas(str(serving.api), 2)
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
        wait_for_deltas(str(again.api), 5)
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
    plain_up: Callable[..., Child], tmp_path: Path
) -> None:
    """Attack 30 from outside, and the SDK's core, which would write to stdout, heard in the log."""
    child = plain_up(ORCHESTRATOR_LOG_LEVEL="debug")
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


def test_doctor_is_content_with_what_the_tests_run_on(run: Run) -> None:
    looked = run("doctor")

    assert looked.returncode == 0, looked.stdout
