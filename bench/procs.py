"""Processes that die with us, are killed by id, and what the kernel counts for them."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bootstrap.devserver import launch

ROOT = Path(__file__).resolve().parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024


class ProcessFailedError(Exception):
    """A process that a measure needs did not do its part."""


class Child:
    """A process of ours with a log file; whatever happens to us, it does not stay behind."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        speaks: bool = False,
    ) -> None:
        self.log = log
        launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        with log.open("ab") as sink:
            self._process = subprocess.Popen(
                [*launcher, *command],
                cwd=ROOT,
                env=dict(environment) if environment is not None else None,
                stdin=subprocess.PIPE if speaks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if speaks else sink,
                stderr=sink,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def tell(self, message: Mapping[str, object]) -> None:
        """Send one line of JSON."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

    def hear(self, timeout: float = 120.0) -> Any:  # noqa: ANN401 - JSON is what the child said
        """Return the next line of JSON that it prints.

        Raises:
            ProcessFailedError: it ended, or said nothing in time.
        """
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise ProcessFailedError(f"{self.what()} said nothing: {self.log_end()}")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise ProcessFailedError(f"{self.what()}: {answer['error']}")
        return answer

    def ask(self, message: Mapping[str, object], timeout: float = 120.0) -> Any:  # noqa: ANN401
        """Send a line and return the answer."""
        self.tell(message)
        return self.hear(timeout)

    def kill(self) -> None:
        """End it at once (SIGKILL) and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def stop(self, grace: float = 10.0) -> int:
        """End it with SIGTERM, with SIGKILL when that does not do; return the exit code."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()
        return self._process.wait()

    def what(self) -> str:
        """Return a name for messages."""
        return f"process {self.pid} ({self.log.stem})"

    def log_end(self, size: int = 1500) -> str:
        """Return the end of its log."""
        return self.log.read_bytes()[-size:].decode(errors="replace") if self.log.exists() else ""


def wait_for(what: str, ready: Callable[[], bool], child: Child, seconds: float = 60.0) -> None:
    """Poll until `ready`, every two milliseconds.

    Raises:
        ProcessFailedError: the child ended or the time is up.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if not child.is_running:
            raise ProcessFailedError(f"{child.what()} ended: {child.log_end()}")
        if time.monotonic() > deadline:
            raise ProcessFailedError(f"{what} took more than {seconds:g} s: {child.log_end()}")
        time.sleep(0.002)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of one process, its threads included, its children not."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory_mib(pid: int) -> float:
    """Return the resident memory of one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_KIB / 1024


def reset_peak(pid: int) -> None:
    """Let the kernel count the peak of resident memory anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mib(pid: int) -> float:
    """Return the peak of resident memory since `reset_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessFailedError(f"the kernel tells no peak of process {pid}")


def children_of(pid: int) -> list[int]:
    """Return the processes that `pid` started, and those that they started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(stat[1]), []).append(int(entry.name))
    found: list[int] = []
    open_ends = [pid]
    while open_ends:
        below = parents.get(open_ends.pop(), [])
        found += below
        open_ends += below
    return found


def kill_tree(child: Child) -> None:
    """End a process and everything below it at once, as a power cut would."""
    below = children_of(child.pid)
    for pid in (child.pid, *below):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    child.kill()
