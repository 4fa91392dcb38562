"""A run's events: pages of JSON, or a stream that replays and then follows."""

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from api.access import Access
from api.bodies import JsonRoute
from api.errors import refuse
from api.openapi import EVENT_STREAM, one_of
from api.params import EventQuery, LastEventId, RunId
from api.replies import wants_stream
from api.services import Desk, Reader, Services
from api.shapes.work import EventList
from api.sse import EventStream
from api.tail import Tail, frames, replay_and_follow
from api.trees import tree_page, tree_stream
from domain.event import StoredEvent
from domain.records import EventLog
from domain.run import Run
from domain.treelog import time_of

router = APIRouter(tags=["events"], route_class=JsonRoute)
_PAGE = 500


def open_stream(
    desk: Services,
    access: Access,
    tail: Tail,
    types: frozenset[str] | None,
    headers: dict[str, str],
) -> EventStream:
    """Return the answer that streams `tail`, whose events count as live."""
    return EventStream(desk.keeper, frames(tail, types, _observer(desk)), access, headers)


def _observer(desk: Services) -> Callable[[StoredEvent], None]:
    def observe(last: StoredEvent) -> None:
        late_ms = desk.ports.clock.now_ms() - time_of(last)
        desk.metrics.lateness.observe(max(0, late_ms) / 1000)

    return observe


@router.get(
    "/v1/runs/{run_id}/events",
    operation_id="list_events",
    responses={
        200: one_of(EventList, EVENT_STREAM, "A page of events, or the stream of them."),
        204: {"description": "The stream ended with the event that the caller has seen."},
        404: {},
    },
)
async def list_events(
    desk: Desk,
    access: Reader,
    request: Request,
    run_id: RunId,
    query: Annotated[EventQuery, Query()],
    last_event_id: LastEventId = None,
) -> Response:
    """Return a run's events.

    With `Accept: text/event-stream` they are replayed and then followed until the terminal one,
    which a filter by type never hides. The stream resumes after `Last-Event-ID` or `after_seq`:
    nothing up to there is sent again, also when the log has not come so far yet.

    With `?tree=1` the events of all runs below it come too, in one order. Their `id`, and the
    `next_cursor` of a page, is a cursor over the whole tree; the stream ends when every run has.
    """
    run = await desk.runs.get_run(access.who.owner, run_id)
    if query.tree and wants_stream(request):
        return await tree_stream(desk, access, run_id, query, last_event_id)
    if query.tree:
        return await tree_page(desk, run_id, query)
    start = query.start
    if last_event_id and wants_stream(request):
        start = _seq_of(last_event_id)
    if query.after_ts is not None:
        start = max(start, await _seq_at(desk.events, run_id, query.after_ts))
    if wants_stream(request):
        return _stream(desk, access, run, start, query.wanted)
    wanted = sorted(query.wanted) if query.wanted else None
    return _json_page(await desk.events.read(run_id, start, query.limit + 1, wanted), query.limit)


def _stream(
    desk: Services, access: Access, run: Run, start: int, wanted: frozenset[str] | None
) -> Response:
    if run.is_terminal and start >= run.last_seq:
        return Response(status_code=204)
    desk.keeper.admit(access)
    chunks = replay_and_follow(desk.events, run, start, wanted, _observer(desk))
    return EventStream(desk.keeper, chunks, access, {"location": f"/v1/runs/{run.run_id}/events"})


def _seq_of(last_event_id: str) -> int:
    if not (last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) <= 15):
        raise refuse(400, "invalid_last_event_id", "Last-Event-ID is no `id` of this stream")
    return int(last_event_id)


async def _seq_at(log: EventLog, run_id: str, after_ts: int) -> int:
    """Return the `seq` of the last event that is not later than `after_ts`."""
    seq = 0
    while page := await log.read(run_id, seq, _PAGE):
        for event in page:
            if time_of(event) > after_ts:
                return seq
            seq = event.seq
    return seq


def _json_page(events: Sequence[StoredEvent], limit: int) -> Response:
    shown = events[:limit]
    more = len(events) > limit
    cursor = f'"{shown[-1].seq}"' if more else "null"
    items = ",".join(event.envelope for event in shown)
    text = f'{{"events":[{items}],"has_more":{str(more).lower()},"next_cursor":{cursor}}}'
    return Response(text.encode(), media_type="application/json")
