"""One orchestrator per data file, and what a dead one left running.

The lock is a POSIX record lock on `<data file>.lock`: the kernel drops it when the holder dies, and
children do not inherit it (a `flock` would live on in a tool's child process). The file's content
names the holder and its server, for the message and for the next start. Knows nothing of Temporal.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from domain.errors import SetupError

_END_WAIT_SECONDS = 5.0
"""How long a killed leftover may take to vanish."""

_held: set[Path] = set()
"""Lock files of this process: closing a second handle would silently drop the first one's lock."""


@dataclass(frozen=True)
class ProcessRef:
    """A process that is never mistaken for a later one with the same number."""

    pid: int
    mark: str
    """When it was started, as the system writes it, with the boot's id on Linux."""


def find_process(pid: int) -> ProcessRef | None:
    """Return the process that has this number now, unless it is dead or a zombie."""
    mark = _linux_mark(pid) if sys.platform == "linux" else _ps_mark(pid)
    return None if mark is None else ProcessRef(pid, mark)


def _linux_mark(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets and may hold blanks; count after it.
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else f"{boot}:{rest[18]}"


def _ps_mark(pid: int) -> str | None:
    command = ["ps", "-p", str(pid), "-o", "stat=,lstart="]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    state, _, started = found.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else started.strip()


def end_process(process: ProcessRef) -> bool:
    """Kill a process at once and wait until it is gone; False when it had ended already."""
    if find_process(process.pid) != process:
        return False
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + _END_WAIT_SECONDS
    while find_process(process.pid) == process and time.monotonic() < deadline:
        time.sleep(0.01)
    return True


class DataLock:
    """The right to run a server on one data file, held by this process until it is released."""

    def __init__(self, data_file: Path) -> None:
        self._path = data_file.resolve().with_name(data_file.name + ".lock")
        self._data_file = data_file
        self._fd: int | None = None

    def acquire(self) -> int | None:
        """Take the lock and end the server that a dead holder left; return its process id.

        Raises:
            SetupError: another orchestrator holds it; its server is left alone.
        """
        if self._path in _held:
            raise SetupError(self._in_use_by(os.getpid()))
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as taken:
            holder = _read(fd).get("holder_pid")
            os.close(fd)
            raise SetupError(self._in_use_by(holder)) from taken
        self._fd = fd
        _held.add(self._path)
        return self._end_leftover()

    def record(self, server_pid: int) -> None:
        """Note the server that runs under this lock, so that the next start can end it."""
        assert self._fd is not None
        server = find_process(server_pid)
        content = {
            "holder_pid": os.getpid(),
            "server_pid": server_pid,
            "server_mark": server.mark if server else None,
        }
        written = os.pwrite(self._fd, json.dumps(content).encode(), 0)
        os.ftruncate(self._fd, written)

    def release(self) -> None:
        """Give the data file up; the lock file stays, empty (removing it would race)."""
        if self._fd is None:
            return
        os.ftruncate(self._fd, 0)
        os.close(self._fd)
        self._fd = None
        _held.discard(self._path)

    def _end_leftover(self) -> int | None:
        assert self._fd is not None
        content = _read(self._fd)
        pid, mark = content.get("server_pid"), content.get("server_mark")
        if not isinstance(pid, int) or not isinstance(mark, str):
            return None
        return pid if end_process(ProcessRef(pid, mark)) else None

    def _in_use_by(self, holder: object) -> str:
        who = f"process {holder}" if holder else "another process"
        return (
            f"{self._data_file} is in use by an orchestrator ({who}): stop that one, use it "
            "through its API, or name another data folder with ORCHESTRATOR_DATA_DIR."
        )


def _read(fd: int) -> dict[str, object]:
    try:
        content = json.loads(os.pread(fd, 4096, 0) or b"{}")
    except ValueError:
        return {}  # a holder that died while writing; its server died with it or never started
    return content if isinstance(content, dict) else {}
