"""Fixtures: commands and processes of the program on a folder of the test."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bootstrap.children import Child
from tests.e2e.program import PROGRAM, TRACING, Run, environment, settings_for


@pytest.fixture(scope="package", autouse=True)
def untraced_children() -> Iterator[None]:
    """Measure coverage in processes of `test_product.py` alone: it doubles what a start costs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in TRACING:
            patch.delenv(name)
        yield


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a command to its end."""

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
    """Start `orchestrator up` on the test's folder; whatever was started is stopped."""
    started: list[Child] = []

    def start(*role: str, **extra: str) -> Child:
        child = Child([*(role or ("up",))], tmp_path / "log", settings_for(tmp_path, **extra))
        started.append(child)
        return child

    yield start
    for child in reversed(started):
        child.stop()
