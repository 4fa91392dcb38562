"""The log as it happens: bounded, safe from threads, free for readers that left."""

import asyncio
import gc
import threading

from api.ports import LogLine
from bootstrap.logs.feed import LogReader, MemoryLogFeed


def line(number: int) -> LogLine:
    return LogLine(at_ms=number, level="info", component="x", message=str(number))


async def take(reader: LogReader, count: int) -> list[int]:
    return [(await anext(reader)).at_ms for _ in range(count)]


async def test_a_reader_gets_every_line_from_its_subscription_on() -> None:
    feed = MemoryLogFeed()
    feed.publish(line(0))

    reader = feed.subscribe()
    feed.publish(line(1))
    feed.publish(line(2))

    assert await take(reader, 2) == [1, 2]


async def test_a_reader_that_waits_is_woken_from_another_thread() -> None:
    feed = MemoryLogFeed()
    reader = feed.subscribe()
    waiting = asyncio.ensure_future(take(reader, 1))
    await asyncio.sleep(0)

    thread = threading.Thread(target=feed.publish, args=(line(7),))
    thread.start()

    assert await waiting == [7]
    thread.join()


async def test_a_reader_that_falls_behind_misses_the_oldest_lines() -> None:
    feed = MemoryLogFeed(most=2)
    reader = feed.subscribe()

    for number in range(5):
        feed.publish(line(number))

    assert await take(reader, 2) == [3, 4]


async def test_a_slow_reader_costs_the_others_nothing() -> None:
    feed = MemoryLogFeed(most=2)
    slow, quick = feed.subscribe(), feed.subscribe()

    got = []
    for number in range(4):
        feed.publish(line(number))
        got += await take(quick, 1)

    assert got == [0, 1, 2, 3]
    assert await take(slow, 2) == [2, 3]


async def test_a_reader_that_is_dropped_is_forgotten() -> None:
    feed = MemoryLogFeed()
    reader = feed.subscribe()
    assert feed.has_readers

    del reader
    gc.collect()

    assert not feed.has_readers


def test_a_line_for_a_loop_that_is_gone_is_dropped() -> None:
    feed = MemoryLogFeed()

    async def subscribe() -> LogReader:
        return feed.subscribe()

    reader = asyncio.run(subscribe())
    feed.publish(line(1))

    assert reader is not None
