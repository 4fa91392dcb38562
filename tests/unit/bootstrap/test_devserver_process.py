"""The server as a child: ports, command line, log, its end with and without its parent."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from bootstrap.devserver import launch
from bootstrap.devserver.lock import find_process
from bootstrap.devserver.process import (
    Endpoint,
    ServerProcess,
    answers,
    choose_endpoint,
    command_line,
)
from domain.errors import SetupError

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)"

PARENT = """
import asyncio, sys
from pathlib import Path
from bootstrap.devserver.process import ServerProcess
async def main():
    process = await ServerProcess.spawn(["/bin/sleep", "60"], Path(sys.argv[1]))
    print(process.pid, flush=True)
    await process.wait_dead()
asyncio.run(main())
"""


def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


async def spawn_python(tmp_path: Path, code: str) -> ServerProcess:
    return await ServerProcess.spawn([sys.executable, "-c", code], tmp_path / "t.log")


def test_free_ports_are_chosen_and_named_ones_kept() -> None:
    endpoint = choose_endpoint("127.0.0.1", 0, 0)

    assert len({endpoint.port, endpoint.ui_port, *endpoint.side_ports}) == 4
    assert endpoint.address == f"127.0.0.1:{endpoint.port}"
    assert endpoint.ui_url == f"http://127.0.0.1:{endpoint.ui_port}"
    assert choose_endpoint("127.0.0.1", endpoint.port, None, endpoint.side_ports) == Endpoint(
        "127.0.0.1", endpoint.port, None, *endpoint.side_ports
    )


@pytest.mark.parametrize("who", ["server", "UI"])
def test_a_port_that_is_taken_is_one_sentence(who: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        named = (port, None) if who == "server" else (0, port)

        with pytest.raises(SetupError, match=f"Port {port} .* wanted for Temporal's {who}"):
            choose_endpoint("127.0.0.1", *named)


def test_the_command_says_what_matters() -> None:
    command = command_line(Path("/x/temporal"), Path("t.db"), Endpoint("::1", 1, 2, 3, 4), "space")
    text = " ".join(command)

    assert text.startswith("/x/temporal server start-dev --db-filename t.db --ip ::1 --port 1")
    for expected in (
        "--namespace space",
        "--ui-port 2",
        "--http-port 3",
        "--metrics-port 4",
        "--sqlite-pragma journal_mode=WAL",
        "--sqlite-pragma synchronous=NORMAL",
        "--dynamic-config-value system.enableActivityEagerExecution=true",
        "--dynamic-config-value history.transferProcessorMaxPollRPS=2000",
        '--dynamic-config-value history.timerProcessorMaxTimeShift="10ms"',
    ):
        assert expected in text
    assert "--headless" not in text


def test_without_a_ui_the_server_is_headless() -> None:
    command = command_line(Path("t"), Path("t.db"), Endpoint("127.0.0.1", 1, None, 3, 4), "default")

    assert "--headless" in command
    assert "--ui-port" not in command


async def test_the_server_writes_to_its_log_and_a_long_log_is_set_aside(tmp_path: Path) -> None:
    log = tmp_path / "t.log"
    log.write_bytes(b"x" * 10_000_001)

    process = await spawn_python(tmp_path, "print('one'); print('two')")

    assert await process.wait_dead() == 0
    assert process.log_end() == "one | two"
    assert (tmp_path / "t.log.1").stat().st_size == 10_000_001


async def test_variables_of_the_client_do_not_reach_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "elsewhere:7233")

    process = await spawn_python(tmp_path, "import os; print(os.environ.get('TEMPORAL_ADDRESS'))")

    await process.wait_dead()
    assert process.log_end() == "None"


async def test_ctrl_c_in_the_terminal_does_not_reach_the_server(tmp_path: Path) -> None:
    process = await ServerProcess.spawn(["/bin/sleep", "60"], tmp_path / "t.log")

    assert os.getpgid(process.pid) == process.pid
    await process.stop(timedelta(seconds=5))


async def test_stop_asks_first(tmp_path: Path) -> None:
    process = await ServerProcess.spawn(["/bin/sleep", "60"], tmp_path / "t.log")

    await process.stop(timedelta(seconds=5))

    assert await process.wait_dead() == -signal.SIGTERM
    await process.stop(timedelta(seconds=5))


@pytest.mark.parametrize("grace", [0.0, 0.1])
async def test_stop_kills_a_server_that_does_not_listen(tmp_path: Path, grace: float) -> None:
    process = await spawn_python(tmp_path, f"{STUBBORN}; time.sleep(60)")
    while not (tmp_path / "t.log").read_bytes():
        await asyncio.sleep(0.01)

    await process.stop(timedelta(seconds=grace))

    assert await process.wait_dead() == -signal.SIGKILL


async def test_nothing_that_listens_is_no_answer() -> None:
    endpoint = choose_endpoint("127.0.0.1", 0, None)

    assert not await answers(endpoint.address)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_the_server_dies_with_a_killed_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "t.log")], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        # Until it has become the server, the launcher itself would notice that its parent is gone.
        until(lambda: command_of(server).startswith("/bin/sleep"))
        parent.kill()

    until(lambda: find_process(server) is None)


def test_what_a_private_process_makes_is_its_owners_alone(tmp_path: Path) -> None:
    here = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), launch.PRIVATE]

    subprocess.run([*here, "/usr/bin/env", "touch", str(tmp_path / "x")], check=True)

    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


def test_a_server_whose_parent_is_gone_already_does_not_start() -> None:
    started = subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, "1", "/bin/echo", "started"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (started.returncode, started.stdout) == (1, "")
