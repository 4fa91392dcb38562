"""The product's processes, and how they end."""

import contextlib
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.rig.forked import ForkedChild
from tests.rig.waiting import PATIENCE_SECONDS, until

Json = dict[str, Any]


class Role(ForkedChild):
    """One `orchestrator <role>` process, forked by the nursery."""

    def __init__(self, role: str, folder: Path, env: Mapping[str, str], log: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(role, [role], log, env)

    def endpoints(self) -> Json | None:
        """Return what the process says of itself; None before it serves."""
        with contextlib.suppress(OSError, ValueError):
            said: Json = json.loads((self.folder / "endpoints.json").read_text())
            return said if said["pid"] == self.pid else None
        return None

    async def serves(self, seconds: float = PATIENCE_SECONDS) -> Json:
        """Wait until it serves."""

        def is_ready() -> bool:
            if self.endpoints() is not None:
                return True  # it may have been killed since
            assert self.is_running, f"{self.name} ended instead of serving: {self.tail(40)}"
            return False

        await until(f"{self.name} serves", is_ready, seconds)
        said = self.endpoints()
        assert said is not None
        return said

    async def died(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until it ends by itself; return its code, negative for a signal."""
        await until(f"{self.name} ends", lambda: not self.is_running, seconds)
        return self.wait(1)


def was_killed(code: int) -> bool:
    """Whether a process ended by SIGKILL."""
    return code == -signal.SIGKILL
