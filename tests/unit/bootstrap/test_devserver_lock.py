"""The lock on a data file: one holder, and what a dead one left is ended."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.devserver.lock import DataLock, ProcessRef, _ps_mark, end_process, find_process
from domain.errors import SetupError

HOLD = """
import sys
from pathlib import Path
from bootstrap.devserver.lock import DataLock
lock = DataLock(Path(sys.argv[1]))
lock.acquire()
if len(sys.argv) > 2:
    lock.record(int(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a server."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def hold_elsewhere(data_file: Path, *arguments: str) -> subprocess.Popen[str]:
    """Take the lock in another process."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(data_file), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_lock_that_is_released_can_be_taken_again(tmp_path: Path) -> None:
    lock = DataLock(tmp_path / "deep" / "t.db")

    assert lock.acquire() is None
    lock.release()
    lock.release()
    assert DataLock(tmp_path / "deep" / "t.db").acquire() is None


def test_a_second_holder_in_the_same_process_is_refused_and_the_first_keeps_it(
    tmp_path: Path,
) -> None:
    first = DataLock(tmp_path / "t.db")
    first.acquire()

    for _ in range(2):
        with pytest.raises(SetupError, match="is in use by"):
            DataLock(tmp_path / "t.db").acquire()
    assert subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path / "t.db")], capture_output=True, check=False
    ).returncode
    first.release()


def test_a_second_process_is_refused_with_the_first_ones_number(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    with hold_elsewhere(tmp_path / "t.db", str(sleeper.pid)) as holder:
        with pytest.raises(SetupError, match=rf"\(process {holder.pid}\): stop that one"):
            DataLock(tmp_path / "t.db").acquire()
        holder.kill()

    assert sleeper.poll() is None, "its server was not touched"


def test_a_holder_that_noted_nothing_yet_is_refused_as_well(tmp_path: Path) -> None:
    with hold_elsewhere(tmp_path / "t.db") as holder:
        with pytest.raises(SetupError, match="another process"):
            DataLock(tmp_path / "t.db").acquire()
        holder.kill()


def test_the_server_of_a_holder_that_was_killed_is_ended(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    with hold_elsewhere(tmp_path / "t.db", str(sleeper.pid)) as holder:
        holder.kill()

    lock = DataLock(tmp_path / "t.db")

    assert lock.acquire() == sleeper.pid
    assert sleeper.wait(timeout=5) < 0
    lock.release()


def test_a_process_that_only_got_the_same_number_is_left_alone(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    content = {"holder_pid": 1, "server_pid": sleeper.pid, "server_mark": "an earlier start"}
    (tmp_path / "t.db.lock").write_text(json.dumps(content))
    lock = DataLock(tmp_path / "t.db")

    assert lock.acquire() is None
    assert sleeper.poll() is None
    lock.release()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"server_pid": "x"}'])
def test_a_damaged_lock_file_locks_all_the_same(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.db.lock").write_text(content)
    lock = DataLock(tmp_path / "t.db")

    assert lock.acquire() is None
    lock.release()


def test_a_process_that_ended_is_not_found_even_as_a_zombie() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert find_process(process.pid) is None
    process.wait()
    assert find_process(process.pid) is None
    assert end_process(ProcessRef(process.pid, "gone")) is False


def test_the_mark_of_systems_without_proc_is_a_start_time() -> None:
    assert _ps_mark(os.getpid()) == _ps_mark(os.getpid()) is not None
    assert _ps_mark(2**22 + 1) is None
