"""`orchestrator` commands that the nursery forks: what a `Popen` of them would do, only sooner."""

import functools
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.rig.child import REPO, Child, Process, environment, wait_until
from tests.rig.orders import Order, send

_START_SECONDS = 60.0
_SHARED = "TESTS_NURSERY"
"""Names the socket of a nursery that somebody else has started."""
Stream = int | IO[Any]


class Forked:
    """A process that is not our child, used as a `Popen`; takes what one takes.

    Its exit code comes through the line to the nursery. It dies with us.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: Stream,
        stderr: Stream,
        stdin: Stream = subprocess.DEVNULL,
        cwd: Path | None = None,
        text: bool = False,
        start_new_session: bool = False,
    ) -> None:
        self.stdout: IO[Any] | None = None
        self.stderr: IO[Any] | None = None
        self.returncode: int | None = None
        mode = "r" if text else "rb"
        self._line = socket.socket(socket.AF_UNIX)
        self._line.connect(_nursery())
        order = Order(list(argv), dict(env), str(cwd or Path.cwd()), _umask(), start_new_session)
        with ExitStack() as ours:
            self.stdout, out = _written(stdout, mode, ours)
            self.stderr, err = _written(stderr, mode, ours)
            send(self._line, order, [_given(stdin, ours), out, err])
        self._said = self._line.makefile("rb")
        self.pid = int(self._said.readline())

    def poll(self) -> int | None:
        return self._read(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        code = self._read(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def communicate(self, timeout: float) -> tuple[Any, Any]:
        """Wait for its end and return what is left of its stdout and stderr.

        Raises:
            subprocess.TimeoutExpired: it ran for too long, and was killed.
        """
        with ThreadPoolExecutor(2) as readers:
            out = readers.submit(_rest, self.stdout)
            err = readers.submit(_rest, self.stderr)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                # What it started has its streams too, and would be waited for.
                os.killpg(self.pid, signal.SIGKILL)
                raise
            return out.result(), err.result()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self, seconds: float | None) -> int | None:
        if self.returncode is None and select.select([self._line], [], [], seconds)[0]:
            self.returncode = int(self._said.readline())
            self._said.close()
            self._line.close()
        return self.returncode


def _given(stream: Stream, ours: ExitStack) -> int:
    """Return the descriptor that the process is to have; what is opened for it, `ours` closes."""
    if stream == subprocess.DEVNULL:
        null = os.open(os.devnull, os.O_RDWR)
        ours.callback(os.close, null)
        return null
    return stream if isinstance(stream, int) else stream.fileno()


def _written(stream: Stream, mode: str, ours: ExitStack) -> tuple[IO[Any] | None, int]:
    """Return our end of a stream that the process writes, if it has one, and the process's."""
    if stream != subprocess.PIPE:
        return None, _given(stream, ours)
    reads, writes = os.pipe()
    ours.callback(os.close, writes)
    return os.fdopen(reads, mode), writes


def _rest(pipe: IO[Any] | None) -> Any:
    if pipe is None:
        return None
    with pipe:
        return pipe.read()


def _umask() -> int:
    """Return ours, which a process of ours starts with."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


class ForkedChild(Child):
    """An `orchestrator` command with a name and a log; `command` are its arguments."""

    def _start(self, command: Sequence[str], extra: Mapping[str, str]) -> Process:
        with self.log.open("ab") as out:
            return Forked(command, env=environment(extra), cwd=REPO, stdout=out, stderr=out)


def share_nursery() -> None:
    """Start a nursery for this process and all that it starts from here on."""
    os.environ[_SHARED] = str(_started().path)


@functools.cache
def _nursery() -> str:
    """Return the socket of the nursery that serves, started by the first who asks."""
    shared = os.environ.get(_SHARED)
    nursery = _Nursery(Path(shared)) if shared else _started()
    wait_until("the nursery serves", nursery.path.exists, _START_SECONDS, nursery.child)
    return str(nursery.path)


@dataclass(frozen=True)
class _Nursery:
    """Where a nursery serves, and its process where that is ours."""

    path: Path
    child: Child | None = None


@functools.cache
def _started() -> _Nursery:
    folder = Path(tempfile.mkdtemp(prefix="nursery-"))
    path = folder / "socket"
    command = [sys.executable, "-m", "tests.rig.nursery", str(path)]
    return _Nursery(path, Child("nursery", command, folder / "nursery.log"))
