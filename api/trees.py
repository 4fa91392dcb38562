"""The events of a whole tree of runs: pages of JSON, or one stream that replays and follows."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import cast

from starlette.responses import Response

from api.access import Access
from api.errors import refuse
from api.params import EventQuery
from api.services import Services
from api.sse import EventStream
from domain.errors import InvalidRequestError
from domain.event import StoredEvent
from domain.treelog import TreeLog, advance, decode_seen, encode_seen, time_of, tree_frame

_CHUNK_BYTES = 64 * 1024


async def tree_stream(
    desk: Services, access: Access, run_id: str, query: EventQuery, last_event_id: str | None
) -> Response:
    """Return the stream of a run and all below it; 204 when nothing can follow any more."""
    seen = _seen(query, last_event_id)
    first = await desk.ports.trees.read_tree(run_id, seen)
    if first.is_over and seen:
        return Response(status_code=204)
    desk.keeper.admit(access)
    opened_at = desk.ports.clock.now_ms()

    def observe(last: StoredEvent) -> None:
        if time_of(last) > opened_at:
            late_ms = desk.ports.clock.now_ms() - time_of(last)
            desk.metrics.lateness.observe(max(0, late_ms) / 1000)

    frames = _frames(desk.ports.trees, run_id, seen, query.wanted, observe)
    headers = {"location": f"/v1/runs/{run_id}/events?tree=1"}
    return EventStream(desk.keeper, frames, access, headers)


async def tree_page(desk: Services, run_id: str, query: EventQuery) -> Response:
    """Return a page of a tree's events; its `next_cursor` is there also when no more are yet."""
    seen = _seen(query, None)
    shown: list[StoredEvent] = []
    has_more = False
    while not has_more and (page := await desk.ports.trees.read_tree(run_id, seen)).events:
        for event in page.events:
            is_wanted = query.wanted is None or event.type in query.wanted
            has_more = is_wanted and len(shown) == query.limit
            if has_more:
                break
            advance(seen, event)
            if is_wanted:
                shown.append(event)
    items = ",".join(event.envelope for event in shown)
    cursor = f'"{encode_seen(seen)}"' if seen else "null"
    more = str(has_more).lower()
    text = f'{{"events":[{items}],"has_more":{more},"next_cursor":{cursor}}}'
    return Response(text.encode(), media_type="application/json")


def _seen(query: EventQuery, last_event_id: str | None) -> dict[str, int]:
    if query.after_seq or query.after_ts is not None:
        said = "the events of a tree have no seq in common; use the cursor, or Last-Event-ID"
        raise InvalidRequestError(said)
    if not last_event_id:
        return decode_seen(query.cursor)
    try:
        return decode_seen(last_event_id)
    except (InvalidRequestError, UnicodeEncodeError) as error:
        said = "Last-Event-ID is no `id` of this stream"
        raise refuse(400, "invalid_last_event_id", said) from error


async def _frames(
    log: TreeLog,
    run_id: str,
    seen: dict[str, int],
    types: frozenset[str] | None,
    on_batch: Callable[[StoredEvent], None],
) -> AsyncGenerator[bytes, None]:
    """Yield frames in chunks. A filter by type never hides the end of a run."""
    following = cast("AsyncGenerator[list[StoredEvent]]", log.follow_tree(run_id, dict(seen)))
    async with aclosing(following) as batches:
        async for batch in batches:
            gathered = bytearray()
            for event in batch:
                advance(seen, event)
                if types is not None and event.type not in types and not event.is_terminal:
                    continue
                gathered += tree_frame(event, seen)
                if len(gathered) >= _CHUNK_BYTES:
                    yield bytes(gathered)
                    gathered.clear()
            if gathered:
                yield bytes(gathered)
            on_batch(batch[-1])
