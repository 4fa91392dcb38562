"""Streamed text on its way into the event log: at once when idle, else a row per 15 ms."""

import asyncio
import logging
from typing import Protocol

from domain.errors import StepRefusedError, StoreUnavailableError
from domain.step import Attempt

_log = logging.getLogger(__name__)

SPACING_SECONDS = 0.015
"""The shortest time between two rows of one stream."""


class TextSink(Protocol):
    """Where streamed text is kept; a `StepBook` is one."""

    async def append_delta(self, who: Attempt, text: str, index: int) -> None:
        """Append the next piece of an answer, or refuse it."""
        ...


class DeltaWriter:
    """Writes the text of one attempt, a row at a time. While nothing is pending, no timer runs."""

    def __init__(self, book: TextSink, attempt: Attempt) -> None:
        self._book = book
        self._attempt = attempt
        self._loop = asyncio.get_running_loop()
        self._pending: list[str] = []
        self._write: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._next_at = 0.0
        self._ended = False
        self._failure: Exception | None = None
        self.rows = 0
        """How many rows this attempt has begun to write."""

    def feed(self, text: str) -> None:
        """Take the next piece.

        Raises:
            StepRefusedError, StoreUnavailableError: an earlier piece could not be written.
        """
        if self._failure is not None:
            raise self._failure
        self._pending.append(text)
        self._schedule()

    async def settled(self) -> None:
        """Wait for the row that is being written, if one is."""
        if self._write is not None:
            await asyncio.wait([self._write])

    async def rest(self) -> str:
        """End the stream: wait for the write in flight, return the text that no row holds.

        Raises:
            StepRefusedError, StoreUnavailableError: an earlier piece could not be written.
        """
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        await self.settled()
        if self._failure is not None:
            raise self._failure
        return "".join(self._pending)

    async def abandon(self) -> None:
        """End the stream of an attempt that failed; what is not written yet is dropped."""
        try:
            await self.rest()
        except (StepRefusedError, StoreUnavailableError):
            _log.debug("the last text of %s was not kept", self._attempt.step_id)

    def _schedule(self) -> None:
        if self._write is not None or self._timer is not None or self._ended:
            return
        wait = self._next_at - self._loop.time()
        if wait > 0:
            self._timer = self._loop.call_later(wait, self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        self._timer = None
        text, self._pending = "".join(self._pending), []
        self.rows += 1
        self._next_at = self._loop.time() + SPACING_SECONDS
        self._write = self._loop.create_task(self._append(text, self.rows))

    async def _append(self, text: str, row: int) -> None:
        try:
            await self._book.append_delta(self._attempt, text, row)
        except Exception as error:  # noqa: BLE001 - raised to the attempt at its next piece
            self._failure = error
            return
        finally:
            self._write = None
        if self._pending:
            self._schedule()
