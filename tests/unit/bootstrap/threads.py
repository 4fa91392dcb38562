"""A server for code that blocks: an event loop in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

T = TypeVar("T")


@contextlib.contextmanager
def in_thread(server: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Run an asynchronous server beside the block."""
    started = threading.Event()
    kept: list[T] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        try:
            async with server as value:
                kept.append(value)
                started.set()
                await stop.wait()
        finally:
            started.set()

    def live() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=live)
    thread.start()
    started.wait()
    try:
        yield kept[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
