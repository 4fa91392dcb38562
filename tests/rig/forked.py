"""`orchestrator` commands that the nursery forks: what a `Popen` of them would do, only sooner."""

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.rig.child import Child, Process, environment, wait_until

_START_SECONDS = 60.0


class Forked:
    """A process that is not our child: its exit code comes through the line to the nursery."""

    def __init__(self, argv: Sequence[str], log: Path, extra: Mapping[str, str]) -> None:
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(_nursery()[0])
        order = {"argv": list(argv), "env": environment(extra), "log": str(log)}
        self._line.sendall(json.dumps(order).encode() + b"\n")
        self._said = self._line.makefile("rb")
        self.pid = int(self._said.readline())
        self._code: int | None = None

    def poll(self) -> int | None:
        return self._read(0)

    def wait(self, timeout: float) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        code = self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self, seconds: float) -> int | None:
        if self._code is None and select.select([self._line], [], [], seconds)[0]:
            self._code = int(self._said.readline())
            self._said.close()
            self._line.close()
        return self._code


class ForkedChild(Child):
    """An `orchestrator` command with a name and a log; `command` are its arguments."""

    def _start(self, command: Sequence[str], extra: Mapping[str, str]) -> Process:
        return Forked(command, self.log, extra)


@functools.cache
def _nursery() -> tuple[str, Child]:
    """Return the socket of this process's nursery, and it; started by the first who asks."""
    folder = Path(tempfile.mkdtemp(prefix="nursery-"))
    path = folder / "socket"
    command = [sys.executable, "-m", "tests.rig.nursery", str(path)]
    child = Child("nursery", command, folder / "nursery.log")
    wait_until("the nursery serves", path.exists, _START_SECONDS, child)
    return str(path), child
