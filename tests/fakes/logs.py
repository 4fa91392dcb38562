"""The process's own log, as told."""

import asyncio
from collections.abc import AsyncIterator

from api.ports import LogLine
from tests.fakes.clock import NOW


class FakeLogs:
    """A log that ends when `lines` are told."""

    def __init__(self) -> None:
        self.lines: list[LogLine] = [
            LogLine(NOW, "info", "worker", "started", {"run_id": "run_1"}),
            LogLine(NOW, "error", "store", "disk\nfull\x1b[31m"),
        ]
        self.open = False

    async def subscribe(self) -> AsyncIterator[LogLine]:
        for line in self.lines:
            yield line
        if self.open:
            await asyncio.Event().wait()
