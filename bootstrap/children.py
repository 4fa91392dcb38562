"""Orchestrator processes as children: started, awaited until they serve, stopped or killed.

They die with us. What they log goes to a file; their progress is shown while we wait.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from bootstrap.commands.failure import CommandError
from bootstrap.devserver import launch
from bootstrap.private import open_private
from bootstrap.terminal import note

ERROR_PREFIX = "Error: "
"""Begins the sentence with which a command of ours fails."""
_PROGRESS_PREFIX = "==> "
_LOOK_SECONDS = 0.2
_STOP_SECONDS = 15.0
_KEPT_LINES = 50
"""Lines of a process's log among which its last words are looked for."""
_READY_SECONDS = 900.0
"""Long enough to build the Temporal dev server, which is done once per machine."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What a process says of itself once it serves."""

    api: str | None
    temporal: str
    temporal_ui: str | None
    pid: int
    providers: tuple[str, ...]


class Child:
    """One `orchestrator <role>` process with `--json`, from its start to its end."""

    def __init__(
        self,
        arguments: list[str],
        log_file: Path,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        self._rest = b""
        self._last_lines: deque[str] = deque(maxlen=_KEPT_LINES)
        log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._log_file = log_file
        self._shown = log_file.stat().st_size if log_file.exists() else 0
        with open_private(log_file) as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                [*_tied_to_us(), *arguments, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_changed(environment or {}),
                # Ctrl-C is for us: we stop the child when we are ready to.
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def wait_ready(self) -> Serving:
        """Wait until the process serves, and show its progress meanwhile.

        Raises:
            CommandError: it ended instead; with its own reason.
        """
        pipe = self._process.stdout
        assert pipe is not None
        deadline = time.monotonic() + _READY_SECONDS
        while not select.select([pipe], [], [], _LOOK_SECONDS)[0]:
            self._show_progress()
            if time.monotonic() > deadline:
                self.kill()
                raise CommandError(f"the orchestrator did not start; see {self._log_file}")
        line = pipe.readline()
        if not line:
            self._process.wait()
            self.kill()
            raise CommandError(self.last_words())
        return _serving(json.loads(line))

    def stop(self) -> int:
        """Ask the process to stop, wait, and return its exit code; one that hangs is killed."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        return self.kill()

    def kill(self) -> int:
        """End the process at once (SIGKILL) and return its exit code."""
        self._process.kill()
        code = self._process.wait()
        pipe = self._process.stdout
        if pipe is not None and not pipe.closed:
            # Whoever inherited the other end must not keep us waiting.
            os.set_blocking(pipe.fileno(), False)
            self._rest = pipe.read() or b""
            pipe.close()
        return code

    def read_rest(self) -> bytes:
        """Return what the process wrote to stdout after it said that it serves."""
        return self._rest

    def last_words(self) -> str:
        """Return why the process ended: its error, else the end of its log."""
        self._new_lines()
        for line in reversed(self._last_lines):
            if line.startswith(ERROR_PREFIX):
                return line.removeprefix(ERROR_PREFIX)
        last = self._last_lines[-1] if self._last_lines else "it said nothing"
        return f"the orchestrator ended with code {self._process.returncode}: {last}"

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _show_progress(self) -> None:
        for line in self._new_lines():
            if line.startswith(_PROGRESS_PREFIX):
                note(line)

    def _new_lines(self) -> list[str]:
        with self._log_file.open("rb") as log:
            log.seek(self._shown)
            new = log.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._shown += len(whole)
        lines = whole.decode("utf-8", "replace").splitlines()
        self._last_lines.extend(lines)
        return lines


def _changed(changes: Mapping[str, str | None]) -> dict[str, str]:
    """Return our environment with changes; None takes a variable away."""
    merged = {**os.environ, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _tied_to_us() -> list[str]:
    """Return the beginning of a command that runs our CLI and is killed when we die."""
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
    # -P: a folder of the current directory must not stand in for one of our packages.
    return [*launcher, sys.executable, "-P", "-m", "bootstrap.cli"]


def _serving(said: dict[str, Any]) -> Serving:
    return Serving(
        api=said["api"],
        temporal=said["temporal"],
        temporal_ui=said["temporal_ui"],
        pid=said["pid"],
        providers=tuple(said["providers"]),
    )
