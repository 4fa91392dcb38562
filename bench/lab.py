"""What measures share: the fake model server, one product, one anchor, and a place for files.

Each is started when first asked for and ended with the lab.
"""

import contextlib
import gc
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.bars import WrongAnswerError
from bench.ours import Orchestrator, agent, default_command
from bench.procs import Child
from bench.wire import Connection


class FakeModel:
    """The test stub of a provider, in a process of its own."""

    def __init__(self, log: Path) -> None:
        self.child = Child(
            [sys.executable, "-m", "tests.stub.provider", "--port", "0"], log, speaks=True
        )
        self.port = int(self.child.hear()["port"])

    @property
    def url(self) -> str:
        """The OpenAI base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    def reset(self) -> None:
        """Forget which requests came."""
        with Connection(self.port) as connection:
            connection.ask("POST", "/reset")

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests since `reset`."""
        with Connection(self.port) as connection:
            found: list[dict[str, Any]] = connection.ask("GET", "/log")["requests"]
        return found

    def expect_calls(self, count: int) -> None:
        """Check how many model calls there were since `reset`.

        Raises:
            WrongAnswerError: there were more or fewer.
        """
        got = len(self.requests())
        if got != count:
            raise WrongAnswerError(f"{got} model calls where {count} were due")


@dataclass
class Lab:
    """One bench run's processes and folder.

    Args:
        quick: short rounds, for development: figures are rough.
        command: the product's command.
    """

    quick: bool = False
    command: Sequence[str] = field(default_factory=default_command)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="bench-")))
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _fake: FakeModel | None = None
    _ours: Orchestrator | None = None
    _llm1: Child | None = None

    def __enter__(self) -> Self:
        # A collection in the middle of a measured request would be counted as the product's.
        gc.freeze()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def fake(self) -> FakeModel:
        """The fake model server."""
        if self._fake is None:
            self._fake = FakeModel(self.folder / "fake.log")
            self._stack.callback(self._fake.child.kill)
        return self._fake

    @property
    def ours(self) -> Orchestrator:
        """The product, with the agents `bench` and `tool` (which has the calculator)."""
        if self._ours is None:
            started = self.orchestrator("ours").start()
            started.register(agent())
            started.register(agent("tool", tools=["calculator"]))
            self._ours = started
        return self._ours

    @property
    def llm1(self) -> Child:
        """The anchor, on the product's own Temporal server."""
        if self._llm1 is None:
            command = [sys.executable, "-m", "bench.anchors.llm1"]
            command += ["--address", self.ours.temporal, "--model-url", self.fake.url]
            self._llm1 = Child(command, self.folder / "llm1.log", speaks=True)
            self._stack.callback(self._llm1.kill)
            self._llm1.hear()
        return self._llm1

    def orchestrator(self, name: str, role: str = "up", **more: str) -> Orchestrator:
        """Return a product that is not started, on a folder of its own; it ends with the lab."""
        made = Orchestrator(
            self.folder / name, self.fake.url, role=role, command=self.command, more=more
        )
        self._stack.callback(_end, made)
        return made

    def child(self, name: str, *command: str) -> Child:
        """Start a helper that speaks; it ends with the lab."""
        started = Child([sys.executable, *command], self.folder / f"{name}.log", speaks=True)
        self._stack.callback(started.kill)
        return started


def _end(orchestrator: Orchestrator) -> None:
    if orchestrator.child is not None and orchestrator.child.is_running:
        orchestrator.child.stop(20)
