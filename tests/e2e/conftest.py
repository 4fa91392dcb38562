"""Fixtures: commands and processes of the program on a folder of the test."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootstrap.children import Child
from tests.e2e.forked import ForkedServer, fork
from tests.e2e.program import PROGRAM, Run, environment, settings_for


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command to its end, in a fork."""

    def command(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        process = fork(tmp_path, *arguments, **extra)
        out, err = process.communicate(timeout=100)
        return subprocess.CompletedProcess(arguments, process.wait(), out, err)

    return command


@pytest.fixture
def plain_run(tmp_path: Path) -> Run:
    """Run a command to its end, started as people start it."""

    def command(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *arguments],
            env=environment(tmp_path, **extra),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return command


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start `orchestrator up` on the test's folder, in a fork."""
    yield from _servers(tmp_path, ForkedServer)


@pytest.fixture
def plain_up(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Start `orchestrator up` on the test's folder, as the product starts it."""
    yield from _servers(tmp_path, Child)


def _servers(folder: Path, kind: type[Child]) -> Iterator[Callable[..., Child]]:
    """Give what starts servers of a kind; whatever was started is stopped."""
    started: list[Child] = []

    def start(*role: str, **extra: str) -> Child:
        child = kind([*(role or ("up",))], folder / "log", settings_for(folder, **extra))
        started.append(child)
        return child

    yield start
    for child in reversed(started):
        child.stop()
