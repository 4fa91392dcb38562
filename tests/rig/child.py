"""One process of ours: started, frozen, ended or killed by its id. Dies with the test run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from bootstrap.devserver import launch

REPO = Path(__file__).resolve().parents[2]
_FOREIGN = ("TEMPORAL_", "ORCHESTRATOR_", "OPENAI_", "ANTHROPIC_", "OLLAMA_", "DATABASE_")
_POLL_SECONDS = 0.005


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without any setting of the product's, and `extra`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    cache = os.environ.get("ORCHESTRATOR_CACHE_DIR")
    if cache:
        kept["ORCHESTRATOR_CACHE_DIR"] = cache
    return {**kept, **extra}


class Process(Protocol):
    """What a child needs of a process, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def kill(self) -> None: ...


def started(command: Sequence[str], log: Path, extra: Mapping[str, str]) -> Process:
    """Start a command; it dies with the thread that started it: call this in the main thread."""
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
    with log.open("ab") as out:
        return subprocess.Popen(
            [*launcher, *command],
            cwd=REPO,
            env=environment(extra),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            process_group=0,
        )


class Child:
    """A process with a name and a log."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, extra: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._process = self._start(command, extra or {})

    def _start(self, command: Sequence[str], extra: Mapping[str, str]) -> Process:
        return started(command, self.log, extra)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send one signal to this process alone."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self.is_running:
            self._process.kill()
        self._process.wait(10)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    def terminate(self, seconds: float = 10.0) -> float:
        """SIGTERM, and wait; return how long it took to end."""
        started = time.monotonic()
        self.send(signal.SIGTERM)
        self.wait(seconds)
        return time.monotonic() - started

    def wait(self, seconds: float = 10.0) -> int:
        """Wait until it ends by itself; return its exit code, negative for a signal."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(
                f"{self.name} still runs after {seconds} s: {self.tail()}"
            ) from error

    def close(self) -> None:
        """End it, whatever state it is in."""
        if self.is_running:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait(10)

    def tail(self, lines: int = 15) -> str:
        """Return the end of what it printed."""
        if not self.log.exists():
            return "no log"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def rss_mib(self) -> float:
        """Return its resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError(f"{self.name} has no memory figure")


def wait_until(
    what: str, is_true: Callable[[], bool], seconds: float, child: Child | None = None
) -> None:
    """Poll a condition of another process; fails with `what`, and with the end of its log."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if child is not None and not child.is_running:
            raise AssertionError(f"{child.name} ended before {what}: {child.tail(40)}")
        if time.monotonic() > deadline:
            tail = child.tail(40) if child is not None else ""
            raise AssertionError(f"not within {seconds} s: {what}. {tail}")
        time.sleep(_POLL_SECONDS)
