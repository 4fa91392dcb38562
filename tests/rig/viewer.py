"""Somebody who watches one run, and reconnects with `Last-Event-ID`."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import httpx2

from adapters.llm.sse import SseParser
from tests.faults.check import Transcript
from tests.rig.waiting import AWAY, PATIENCE_SECONDS, POLL_SECONDS

Json = dict[str, Any]
_TERMINAL = frozenset({"run_done", "run_failed", "run_cancelled"})


class Served(Protocol):
    """Where an API is, which may move, and how it is spoken to."""

    url: str
    http: httpx2.AsyncClient


@dataclass
class Viewer:
    """Somebody who watches one run and comes back whenever the connection breaks."""

    world: Served
    run_id: str
    events: list[Json] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    """When each event came, by `time.monotonic()`."""
    connections: list[list[int]] = field(default_factory=list)
    comments: int = 0
    """Chunks that brought no event: pings, mostly."""
    saw_end: bool = False
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _task: "asyncio.Task[None] | None" = None

    def start(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def check(self) -> None:
        """Raise what went wrong while watching."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()

    def transcript(self) -> Transcript:
        return Transcript(self.run_id, self.connections, self.saw_end)

    def count(self, kind: str, **data: object) -> int:
        """Return how many events of a type, with these fields in `data`, were seen."""
        return sum(
            event["type"] == kind and data.items() <= event["data"].items() for event in self.events
        )

    async def sees(
        self, kind: str, count: int = 1, seconds: float = PATIENCE_SECONDS, **data: object
    ) -> None:
        """Wait for the `count`-th event of a type."""

        def is_there() -> bool:
            assert self._task is not None, "start() comes first"
            self.check()
            return self.saw_end or self.count(kind, **data) >= count

        await self._wait(f"{count} {kind} {data or ''} of {self.run_id}", is_there, seconds)
        seen = [event["type"] for event in self.events][-8:]
        assert self.count(kind, **data) >= count, f"{self.run_id} ended without {kind}: {seen}"

    async def ends(self, seconds: float = PATIENCE_SECONDS) -> str:
        """Wait for the terminal event and return its type."""
        await self._wait(f"the end of {self.run_id}", lambda: self.saw_end, seconds)
        return str(self.events[-1]["type"])

    async def _wait(self, what: str, is_true: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(is_true)
        except TimeoutError as error:
            seen = [event["type"] for event in self.events][-8:]
            raise AssertionError(f"not within {seconds:g} s: {what}; last: {seen}") from error

    async def _follow(self) -> None:
        try:
            while not self.saw_end:
                with contextlib.suppress(*AWAY):
                    await self._connect()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            async with self._changed:
                self._changed.notify_all()

    async def _connect(self) -> None:
        headers = {"accept": "text/event-stream"}
        if self.events:
            headers["last-event-id"] = str(self.events[-1]["seq"])
        path = f"/v1/runs/{self.run_id}/events"
        async with self.world.http.stream(
            "GET", self.world.url + path, headers=headers, timeout=httpx2.Timeout(5, read=30)
        ) as answer:
            if answer.status_code != 200:
                assert answer.status_code in (204, 503, 429), answer.status_code
                return
            self.connections.append([])
            parser = SseParser()
            async for chunk in answer.aiter_raw():
                await self._take(parser, chunk)

    async def _take(self, parser: SseParser, chunk: bytes) -> None:
        frames = parser.feed(chunk)
        self.comments += not frames
        for frame in frames:
            if frame.event == "shutdown":
                continue
            event = json.loads(frame.data)
            assert frame.last_event_id == str(event["seq"])
            self.connections[-1].append(event["seq"])
            self.events.append(event)
            self.at.append(time.monotonic())
            self.saw_end = self.saw_end or event["type"] in _TERMINAL
        async with self._changed:
            self._changed.notify_all()
