"""Builds the pinned Go programs under tools/ from source, once per machine, with visible progress.

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
class GoModule:
    """A pinned module under tools/ and the programs that it builds."""

    name: str
    """Its folder under tools/."""
    what: str
    """What is built, for the person who waits, with a hint at how long."""
    packages: tuple[str, ...]
    linker_flags: str = "-s -w"


@dataclass(frozen=True)
class BuildFailure:
    """Why there is no build; `reason` completes "building it: ..."."""

    reason: str


_DEV_SERVER = GoModule(
    name="temporal",
    what=f"the Temporal dev server {PINNED_SERVER} from source (about 3 minutes on 2 cores)",
    packages=("github.com/temporalio/cli/cmd/temporal",),
    linker_flags=f"-s -w -X github.com/temporalio/cli/internal/temporalcli.Version={PINNED}",
)


def build(cache: Path, report: Report) -> Path | BuildFailure:
    """Build the pinned dev server into the cache folder, or return the one that is there."""
    target = built_path(cache)
    return build_module(_DEV_SERVER, target.parent, report) or target


def build_module(module: GoModule, into: Path, report: Report) -> BuildFailure | None:
    """Build a module's programs into a folder unless they are there; None when they are.

    Two builds at once would cost twice as long, so the second waits for the first.
    """
    source = Path(__file__).parent.parent / "tools" / module.name
    targets = [into / package.rpartition("/")[2] for package in module.packages]
    obstacle = _obstacle(source)
    if obstacle:
        return BuildFailure(obstacle)
    into.mkdir(parents=True, exist_ok=True)
    with _one_at_a_time(into / "build.lock", report):
        if all(target.exists() for target in targets):
            return None
        return _run_build(module, source, into, report)


def _obstacle(source: Path) -> str | None:
    if not (source / "go.mod").exists():
        return f"the pinned module tools/{source.name} is only in a checkout of the repository"
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
            report("another process is building the same: waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run_build(module: GoModule, source: Path, into: Path, report: Report) -> BuildFailure | None:
    report(f"building {module.what}, once per machine")
    draft = into / "part"
    draft.mkdir(exist_ok=True)
    command = ["go", "build", "-v", "-trimpath", "-buildvcs=false"]
    command += ["-ldflags", module.linker_flags, "-o", f"{draft}/", *module.packages]
    tail = _follow(command, source, report)
    if tail is not None:
        return BuildFailure(f"`go build` in tools/{module.name} failed: {tail}")
    for made in draft.iterdir():
        made.replace(into / made.name)
    draft.rmdir()
    report(f"built into {into}")
    return None


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
