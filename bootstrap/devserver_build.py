"""Builds the pinned Temporal dev server from source, once per machine, with visible progress.

Knows nothing of data files, of running servers and of the other ways to a binary.

Source: reference/engine.md 1.1.
"""

import fcntl
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PINNED = "1.8.2"
"""The CLI that tools/temporal/go.mod requires."""

PINNED_SERVER = "1.31.2"
"""The server inside the pinned CLI."""

_GO_FLOOR = (1, 26, 4)
"""The pinned CLI's own `go` directive."""

_PACKAGE = "github.com/temporalio/cli/cmd/temporal"
_VERSION_FLAG = "-X github.com/temporalio/cli/internal/temporalcli.Version="
_REPORT_SECONDS = 5.0
"""How often a line of progress is written."""

Report = Callable[[str], None]
"""Takes one line for the person who waits."""


def cache_folder() -> Path:
    """Return the machine-wide folder for what is built or downloaded once."""
    named = os.environ.get("ORCHESTRATOR_CACHE_DIR")
    return Path(named) if named else Path.home() / ".cache" / "durable-orchestrator"


def built_path(cache: Path) -> Path:
    """Return where the pinned build stands once it is made."""
    return cache / "temporal" / PINNED / "temporal"


@dataclass(frozen=True)
class BuildFailure:
    """Why there is no build; `reason` completes "building it: ..."."""

    reason: str


def build(cache: Path, report: Report) -> Path | BuildFailure:
    """Build the pinned server into the cache folder, or return the one that is there.

    Two builds at once would cost twice as long, so the second waits for the first.
    """
    module = Path(__file__).parent.parent / "tools" / "temporal"
    obstacle = _obstacle(module)
    if obstacle:
        return BuildFailure(obstacle)
    target = built_path(cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(target.parent / "build.lock", report):
        if target.exists():
            return target
        return _run_build(module, target, report)


def _obstacle(module: Path) -> str | None:
    if not (module / "go.mod").exists():
        return "the pinned module tools/temporal is only in a checkout of the repository"
    go = shutil.which("go")
    wanted = ".".join(map(str, _GO_FLOOR))
    if go is None:
        return f"needs Go {wanted} or newer, and there is no `go` on PATH"
    answer = subprocess.run([go, "version"], capture_output=True, text=True, check=False)  # noqa: S603
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    if found is None:
        return f"`go version` failed: {answer.stderr.strip()[-200:]}"
    if tuple(int(part or 0) for part in found.groups()) < _GO_FLOOR:
        return f"needs Go {wanted} or newer, and `go` on PATH is {found[0].removeprefix('go')}"
    return None


@contextmanager
def _one_at_a_time(lock: Path, report: Report) -> Iterator[None]:
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is building the Temporal dev server: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run_build(module: Path, target: Path, report: Report) -> Path | BuildFailure:
    report(
        f"building the Temporal dev server {PINNED_SERVER} from source, once per machine "
        "(about 3 minutes on 2 cores)"
    )
    draft = target.with_name("temporal.part")
    flags = f"-s -w {_VERSION_FLAG}{PINNED}"
    command = ["go", "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", flags]
    tail = _follow([*command, "-o", str(draft), _PACKAGE], module, report)
    if tail is not None:
        return BuildFailure(f"`go build` in tools/temporal failed: {tail}")
    draft.replace(target)
    report(f"built {target}")
    return target


def _follow(command: list[str], folder: Path, report: Report) -> str | None:
    """Run a build and report how far it is; return the end of its output if it fails."""
    started = reported = time.monotonic()
    downloaded = compiled = 0
    tail: list[str] = []
    process = subprocess.Popen(  # noqa: S603 - a fixed command on our own module
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            downloaded += line.startswith("go: downloading")
            compiled += not line.startswith("go: ")
            tail = [*tail[-4:], line.strip()]
            if time.monotonic() - reported >= _REPORT_SECONDS:
                reported = time.monotonic()
                report(_progress(downloaded, compiled, reported - started))
    return " | ".join(tail) if process.returncode else None


def _progress(downloaded: int, compiled: int, seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    fetched = f"{downloaded} modules downloaded, " if downloaded else ""
    return f"  {minutes}:{rest:02d}  {fetched}{compiled} packages compiled"
