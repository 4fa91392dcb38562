"""A replay of what is on record: the next page is read while one is sent.

Making thousands of events in Python, each to be written into a frame, costs several times what
reading them does; the database does it without the interpreter's lock, beside whatever is served.
"""

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

from adapters.store.database.tx import Engine
from adapters.store.log.pages import FramePage, FrameReader

_ROWS = 1000
"""Most events in a page."""
_FIRST_ROWS = 32


async def replay(
    engine: Engine, reader: FrameReader, after_seq: int
) -> AsyncGenerator[bytes, None]:
    """Yield what `reader` finds after `after_seq`, page by page."""
    if after_seq >= reader.until_seq:
        return
    page = await engine.read(partial(reader.read, after_seq=after_seq, rows=_FIRST_ROWS))
    while page.last_seq < reader.until_seq:
        rows = min(_ROWS, 4 * page.rows)
        coming = asyncio.ensure_future(
            engine.read(partial(reader.read, after_seq=page.last_seq, rows=rows))
        )
        try:
            if page.frames:
                yield page.frames
            page = await coming
        finally:
            await _settle(coming)
    if page.frames:
        yield page.frames


async def _settle(coming: "asyncio.Future[FramePage]") -> None:
    """Leave nothing behind of a read that nobody waits for any more."""
    if not coming.done():
        coming.cancel()
        await asyncio.wait({coming})
    if not coming.cancelled():
        coming.exception()
