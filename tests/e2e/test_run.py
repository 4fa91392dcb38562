"""`orchestrator run` as people use it: it starts what it needs, and comes back after a crash."""

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from bootstrap.children import Child
from bootstrap.commands.servers import find_running
from tests.e2e.forked import fork
from tests.e2e.program import Run, register_slow, wait_for_deltas
from tests.rig.forked import Forked


def test_run_starts_an_orchestrator_when_none_runs_and_ends_it(
    plain_run: Run, tmp_path: Path
) -> None:
    asked = plain_run("run", "What is 6 * 7?")

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


def ask_slowly(tmp_path: Path, *options: str, words: int = 60) -> Forked:
    return fork(tmp_path, "run", "--agent", "slow", f"tokens={words} gap_ms=30", *options)


def check_answer(asked: Forked) -> None:
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
    wait_for_deltas(str(serving.api), 10)

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
    wait_for_deltas(str(serving.api), 10)

    first.kill()
    up(ORCHESTRATOR_PORT=port).wait_ready()

    check_answer(asked)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_ctrl_c_before_anything_is_started_says_that(tmp_path: Path) -> None:
    asked = ask_slowly(tmp_path)
    while not (tmp_path / "data" / "orchestrator.log").exists():
        time.sleep(0.01)

    asked.send_signal(signal.SIGINT)

    _, err = asked.communicate(timeout=30)
    assert asked.returncode == 130
    assert "nothing was started" in err
    assert "runs tail" not in err


def test_ctrl_c_stops_an_orchestrator_of_its_own_and_says_how_the_run_goes_on(
    run: Run, up: Callable[..., Child], tmp_path: Path
) -> None:
    first = up()
    register_slow(first.wait_ready())
    first.stop()
    asked = ask_slowly(tmp_path, words=80)
    while (url := find_running(tmp_path / "data")) is None:
        time.sleep(0.05)
    wait_for_deltas(url, 3)

    asked.send_signal(signal.SIGINT)

    _, err = asked.communicate(timeout=30)
    assert asked.returncode == 130
    assert "goes on with the next: orchestrator up" in err
    command = err.partition("see it with: orchestrator ")[2].splitlines()[0]
    up().wait_ready()
    assert "run_done" in run(*command.split()).stdout


def test_ctrl_c_leaves_the_run_and_says_how_to_come_back(
    run: Run, up: Callable[..., Child], tmp_path: Path
) -> None:
    serving = up().wait_ready()
    register_slow(serving)
    asked = ask_slowly(tmp_path, words=80)
    wait_for_deltas(str(serving.api), 3)

    asked.send_signal(signal.SIGINT)

    _, err = asked.communicate(timeout=10)
    assert asked.returncode == 130
    command = err.strip().rpartition("orchestrator ")[2].split()
    assert command[:2] == ["runs", "tail"]
    assert "run_done" in run(*command).stdout
