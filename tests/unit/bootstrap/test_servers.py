"""Which server a command talks to, and how one of its own is started and stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap import children
from bootstrap.children import Child
from bootstrap.commands import servers as servers_module
from bootstrap.commands.failure import CommandError
from bootstrap.commands.servers import Servers, connect, find_running


@pytest.fixture
def url() -> Iterator[str]:
    """An address where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def note_endpoints(folder: Path, **said: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "endpoints.json").write_text(json.dumps(said))
    return folder


def a_dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


# ------------------------------------------------------------------ found


def test_a_server_that_runs_is_found(tmp_path: Path, url: str) -> None:
    assert find_running(note_endpoints(tmp_path, api=url, pid=os.getpid())) == url


def test_a_folder_without_a_server_has_none(tmp_path: Path) -> None:
    assert find_running(tmp_path) is None


def test_a_server_that_was_killed_is_not_found(tmp_path: Path, url: str) -> None:
    assert find_running(note_endpoints(tmp_path, api=url, pid=a_dead_process())) is None


def test_a_process_that_took_over_its_id_is_not_taken_for_it(tmp_path: Path) -> None:
    folder = note_endpoints(tmp_path, api="http://127.0.0.1:1", pid=os.getpid())

    assert find_running(folder) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"api": "x", "pid": "y"}', '{"api": null'])
def test_a_file_that_says_nothing_is_no_server(tmp_path: Path, text: str) -> None:
    (tmp_path / "endpoints.json").write_text(text)

    assert find_running(tmp_path) is None


def test_a_process_without_an_api_is_no_server(tmp_path: Path) -> None:
    assert find_running(note_endpoints(tmp_path, api=None, pid=os.getpid())) is None


def test_a_process_of_somebody_else_counts_as_alive(tmp_path: Path, url: str) -> None:
    assert find_running(note_endpoints(tmp_path, api=url, pid=1)) == url


def test_the_server_that_is_named_is_taken(url: str) -> None:
    with connect(url + "/", None) as api:
        assert api.url == url


def test_the_server_of_the_data_folder_is_taken(tmp_path: Path, url: str) -> None:
    folder = note_endpoints(tmp_path / "d", api=url, pid=os.getpid())

    with connect(None, None, folder) as api:
        assert api.url == url


@pytest.mark.parametrize(
    ("url", "folder", "said"),
    [
        (None, None, "orchestrator runs tail run_1"),
        (None, "my data", "ORCHESTRATOR_DATA_DIR='my data' orchestrator runs tail run_1"),
        ("http://h:1", "d", "orchestrator runs tail run_1 --api-url http://h:1"),
    ],
)
def test_a_run_on_a_server_of_others_goes_on_there(
    url: str | None, folder: str | None, said: str
) -> None:
    servers = Servers(url, None, Path(folder) if folder else None)

    assert servers.come_back("run_1") == f"the run goes on: {said}"


# ------------------------------------------------------------------ started

PROGRAM = """
import json, os, signal, sys, time
print("==> working hard", file=sys.stderr, flush=True)
{before}
print(json.dumps({{"api": "{url}", "temporal": "t", "temporal_ui": None, "pid": os.getpid(),
    "providers": ["offline"], "data_dir": "", "version": "", "said": sys.argv[1:],
    "x": os.environ.get("X"), "home": os.environ.get("HOME")}}), flush=True)
{after}
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> "Program":
    return Program(tmp_path, monkeypatch, url)


class Program:
    """A stand-in for `orchestrator`, as the child sees it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        self.log = folder / "child.log"
        self.url = url
        self._path = folder / "program.py"
        command = [sys.executable, str(self._path)]
        monkeypatch.setattr(children, "_tied_to_us", lambda: command)

    def child(self, before: str = "", after: str = "signal.pause()") -> Child:
        self.write(before, after)
        return Child(["up"], self.log, {"X": "1", "HOME": None})

    def write(self, before: str = "", after: str = "signal.pause()") -> None:
        self._path.write_text(PROGRAM.format(before=before, after=after, url=self.url))


def test_a_child_is_awaited_and_stopped(program: Program) -> None:
    with program.child() as child:
        serving_ = child.wait_ready()

        assert (serving_.pid, serving_.api) == (child.pid, program.url)

    assert child.stop() == -signal.SIGTERM


def test_a_child_that_stops_in_order_says_so(program: Program) -> None:
    child = program.child("signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))")
    child.wait_ready()

    assert child.stop() == 0


def test_a_child_that_does_not_stop_is_killed(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_STOP_SECONDS", 0.1)
    child = program.child(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)", "while True: time.sleep(9)"
    )
    child.wait_ready()

    assert child.stop() == -signal.SIGKILL


def test_a_child_that_fails_says_its_own_reason(program: Program) -> None:
    child = program.child('sys.exit(print("noise\\nError: the port is taken", file=sys.stderr))')

    with pytest.raises(CommandError, match=r"^the port is taken$"):
        child.wait_ready()


@pytest.mark.parametrize(
    ("before", "said"),
    [("print('last', file=sys.stderr); sys.exit(3)", "ended with code 3: last")],
)
def test_a_child_that_dies_without_a_reason_shows_the_end_of_its_log(
    program: Program, before: str, said: str
) -> None:
    with pytest.raises(CommandError, match=said):
        program.child(before).wait_ready()


def test_what_an_earlier_process_logged_is_not_this_ones_reason(program: Program) -> None:
    program.log.write_text("Error: of yesterday\n")

    with pytest.raises(CommandError, match="working hard"):
        program.child("sys.exit(1)").wait_ready()


def test_the_progress_of_a_child_is_shown(
    program: Program, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(children, "note", shown.append)
    monkeypatch.setattr(children, "_LOOK_SECONDS", 0.001)
    # The child goes on once its line was seen.
    flag = program.log.with_name("flag")
    child = program.child(f"while not os.path.exists({str(flag)!r}): time.sleep(0.001)")
    while not shown:
        child._show_progress()
    flag.touch()
    child.wait_ready()

    child.stop()
    assert shown == ["==> working hard"]


def test_a_reason_that_was_seen_while_waiting_is_not_lost(program: Program) -> None:
    child = program.child("sys.exit(print('Error: full', file=sys.stderr) or 1)")
    while child.is_running:
        child._show_progress()
    child._show_progress()

    with pytest.raises(CommandError, match="full"):
        child.wait_ready()


def test_a_child_that_never_serves_is_ended(
    program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_READY_SECONDS", 0.0)
    monkeypatch.setattr(children, "_LOOK_SECONDS", 0.01)
    child = program.child("signal.pause()")

    with pytest.raises(CommandError, match="did not start"):
        child.wait_ready()

    assert child.stop() == -signal.SIGKILL


# ------------------------------------------------------------------ one that a command may start


def test_a_command_uses_the_server_that_runs(tmp_path: Path, url: str) -> None:
    folder = note_endpoints(tmp_path / "d", api=url, pid=os.getpid())

    with Servers(None, None, folder) as servers, servers.open() as api:
        assert api.url == url


def test_a_command_starts_a_server_once_and_stops_it_at_its_end(
    program: Program, tmp_path: Path
) -> None:
    program.write(
        before=f"open({str(tmp_path / 'starts')!r}, 'a').write('x')\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
    )

    with Servers(None, None, tmp_path / "d") as servers:
        with servers.open() as api:
            assert api.url == program.url
        assert servers.is_own
        with servers.open():
            pass

    assert (tmp_path / "starts").read_text() == "x"


def test_a_server_that_died_under_a_command_is_started_again(
    program: Program, tmp_path: Path
) -> None:
    program.write(before=f"open({str(tmp_path / 'starts')!r}, 'a').write('x')", after="")

    with Servers(None, None, tmp_path / "d") as servers:
        for _ in range(2):
            with servers.open():
                pass
            while servers.is_own:
                pass

    assert (tmp_path / "starts").read_text() == "xx"


def test_somebody_who_was_faster_is_waited_for_and_used(
    program: Program, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands start at once: one server gets the data folder, both use it."""
    folder = tmp_path / "d"
    program.write("sys.exit(print('Error: x is in use by an orchestrator', file=sys.stderr) or 1)")

    def appear(_seconds: float) -> None:
        note_endpoints(folder, api=url, pid=os.getpid())

    monkeypatch.setattr("bootstrap.commands.servers.time.sleep", appear)

    with Servers(None, None, folder) as servers, servers.open() as api:
        assert api.url == url
        assert not servers.is_own


def test_somebody_who_is_faster_and_never_serves_is_given_up(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers_module, "_OTHER_SECONDS", 0.0)
    program.write("sys.exit(print('Error: x is in use by an orchestrator', file=sys.stderr) or 1)")

    refused = pytest.raises(CommandError, match="in use")
    with Servers(None, None, tmp_path / "d") as servers, refused, servers.open():
        pass


def test_a_server_that_cannot_start_is_one_sentence(program: Program, tmp_path: Path) -> None:
    program.write("sys.exit(print('Error: no Temporal here', file=sys.stderr) or 1)")

    refused = pytest.raises(CommandError, match="no Temporal here")
    with Servers(None, None, tmp_path / "d") as servers, refused, servers.open():
        pass
