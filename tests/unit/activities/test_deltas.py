"""The delta writer: at once when idle, grouped while busy, nothing lost, nothing twice."""

import asyncio

import pytest

from activities.deltas import DeltaWriter
from domain.errors import StepRefusedError
from domain.step import Attempt

ATTEMPT = Attempt("run_1", "llm-1-1", 1)


class SlowBook:
    """A book whose writes end when the test says so."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None

    async def append_delta(self, who: Attempt, text: str, index: int) -> None:
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.rows.append((index, text))


async def test_the_first_piece_is_written_at_once() -> None:
    book = SlowBook()
    writer = DeltaWriter(book, ATTEMPT)

    writer.feed("a")
    await asyncio.sleep(0)

    assert book.rows == [(1, "a")]


async def test_pieces_that_arrive_during_a_write_share_the_next_row() -> None:
    book = SlowBook()
    book.gate.clear()
    writer = DeltaWriter(book, ATTEMPT)

    for piece in "abc":
        writer.feed(piece)
    book.gate.set()

    assert (await writer.rest(), book.rows) == ("bc", [(1, "a")])


async def test_text_that_waits_for_its_time_is_written_without_another_piece() -> None:
    book = SlowBook()
    writer = DeltaWriter(book, ATTEMPT)
    writer.feed("a")
    await asyncio.sleep(0)
    writer.feed("b")

    async with asyncio.timeout(2):
        while len(book.rows) < 2:
            await asyncio.sleep(0.001)

    assert book.rows == [(1, "a"), (2, "b")]
    assert await writer.rest() == ""


async def test_a_refused_write_is_raised_at_the_next_piece() -> None:
    book = SlowBook()
    book.failure = StepRefusedError("gone", reason="superseded")
    writer = DeltaWriter(book, ATTEMPT)
    writer.feed("a")
    await asyncio.sleep(0)

    with pytest.raises(StepRefusedError):
        writer.feed("b")
    with pytest.raises(StepRefusedError):
        await writer.rest()
    await writer.abandon()
