"""The program without its start, in forks of the nursery: for tests whose subject is another.

A fork finds everything imported. What imports do -- that none is missing, that none prints, what
they cost -- is for the tests that start the program plainly.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bootstrap.children import Child
from tests.e2e.program import environment
from tests.rig.forked import Forked


class ForkedServer(Child):
    """One `orchestrator <role>` as the product has it as a child: a fork stands for the start."""

    def __init__(
        self,
        arguments: list[str],
        log_file: Path,
        environment: Mapping[str, str | None] | None = None,
    ) -> None:
        stand_in = SimpleNamespace(Popen=_fork, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL)
        # All else of a child is to be the product's: its environment, its log, its session.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bootstrap.children.subprocess", stand_in)
            super().__init__(arguments, log_file, environment)


def _fork(command: Sequence[str], **given: Any) -> Forked:
    return Forked(command[command.index("bootstrap.cli") + 1 :], **given)


def fork(folder: Path, *arguments: str, **extra: str) -> Forked:
    """Begin a command on a folder; its stdout and stderr are ours to read."""
    pipe = subprocess.PIPE
    env = environment(folder, **extra)
    return Forked(arguments, env=env, cwd=folder, stdout=pipe, stderr=pipe, text=True)
