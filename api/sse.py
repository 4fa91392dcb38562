"""Server-sent events: one open stream, and the keeper of all of them. Knows nothing of runs.

A stream's request task only copies chunks from its source to the socket. Whatever else may happen
to it (a ping is due, the reader is gone or stuck, the key was revoked, the process shuts down) is
seen by one watcher or by the keeper's single clock, which end the stream by cancelling that task.
Source: WHATWG HTML 9.2.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.access import Access, Authenticator
from api.errors import RefusedError
from api.metrics import Metrics
from api.ports import StreamConfig
from domain.errors import DrainingError, OrchestratorError, RateLimitedError

_LOG = logging.getLogger(__name__)
_PING = b": ping\n\n"
_ABORT_SECONDS = 1.0
ABORT = "orchestrator.abort"
"""ASGI extension of our server: drops the connection with whatever is still buffered."""


class EventStream(Response):
    """An open stream as an answer. `chunks` are whole frames; they are closed at the end."""

    farewell = b'event: shutdown\ndata: {"reason":"this process stops; reconnect"}\n\n'
    """The last frame of a stream that this process ends because it stops."""
    revoked = (
        b'event: revoked\ndata: {"reason":"the key of this stream may not read it any more"}\n\n'
    )
    """The last frame of a stream whose reader lost the right to it."""

    def __init__(
        self,
        keeper: "StreamKeeper",
        chunks: AsyncGenerator[bytes, None],
        access: Access,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            None,
            200,
            {
                "content-type": "text/event-stream",
                "cache-control": "no-store",
                "x-accel-buffering": "no",
                **(headers or {}),
            },
        )
        self.raw_headers = [item for item in self.raw_headers if item[0] != b"content-length"]
        self.access = access
        self._keeper = keeper
        self._chunks = chunks
        self._why: str | None = None
        self._failure: OrchestratorError | None = None
        self._is_over = False
        self._pumping: asyncio.Task[object] | None = None
        self._sending = 0
        self.stuck_since = 0.0
        self.last_sent = 0.0
        self.checked_at = 0.0
        self._abort: object = None

    @property
    def is_sending(self) -> bool:
        """Whether a chunk waits for the reader to take earlier ones."""
        return self._sending > 0

    def is_ended(self) -> bool:
        """Say whether something outside ended the stream."""
        return self._why is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI)."""
        self._abort = scope.get("extensions", {}).get(ABORT)
        self._send = send
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        watcher = asyncio.ensure_future(self._watch(receive))
        self._keeper.add(self)
        try:
            await self._pump()
            await self._farewell(watcher)
        finally:
            self._keeper.discard(self, self._why)
            watcher.cancel()
            await self._chunks.aclose()

    def end(self, why: str) -> None:
        """End the stream from outside: `gone`, `stalled`, `revoked` or `shutdown`."""
        if self.is_ended() or self._is_over:
            return
        self._why = why
        if self._pumping is not None:
            self._pumping.cancel()

    def abort(self) -> None:
        """Drop a reader that takes nothing, with what is buffered for it."""
        if callable(self._abort):
            self._abort()
        self.end("stalled")

    async def write(self, chunk: bytes) -> None:
        """Send whole frames; waits while the reader does not keep up."""
        now = asyncio.get_running_loop().time
        if not self._sending:
            self.stuck_since = now()
        self._sending += 1
        try:
            await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
        finally:
            self._sending -= 1
        self.last_sent = now()

    def opening(self) -> bytes:
        """Return the frame that every stream begins with: how soon a reader may reconnect."""
        return b"retry: %d\n\n" % self._keeper.config.retry_ms

    def last_words(self, why: str | None, failure: OrchestratorError | None) -> bytes:
        """Return the last frame; nothing where a reader resumes by itself.

        `why` is what ended the stream from outside, `failure` what its source failed with.
        """
        if failure is not None:
            return b""
        return {"shutdown": self.farewell, "revoked": self.revoked}.get(why or "", b"")

    async def ping(self) -> None:
        """Show proxies, and ourselves, that the connection lives."""
        await self.write(_PING)

    async def _pump(self) -> None:
        if self.is_ended():
            return
        task = self._pumping = asyncio.current_task()
        try:
            opening = self.opening()
            if opening:
                await self.write(opening)
            async for chunk in self._chunks:
                await self.write(chunk)
        except asyncio.CancelledError:
            if task is None or not self.is_ended():
                raise
            task.uncancel()
        except OrchestratorError as error:
            _LOG.warning("an event stream ended early; its reader may resume: %s", error)
            self._failure = error
        finally:
            self._pumping = None
            self._is_over = True

    async def _farewell(self, watcher: "asyncio.Future[None]") -> None:
        if self._why == "gone":
            return
        if self._why == "stalled":
            await asyncio.wait({watcher}, timeout=_ABORT_SECONDS)
            return
        last = self.last_words(self._why, self._failure)
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    async def _watch(self, receive: Receive) -> None:
        with suppress(RefusedError):
            while (await receive())["type"] != "http.disconnect":
                pass
        self.end("gone")


class StreamKeeper:
    """Every open stream of this process, and the one clock that looks after them."""

    def __init__(
        self, config: StreamConfig, authenticator: Authenticator, metrics: Metrics
    ) -> None:
        self.config = config
        self.is_draining = False
        self.stopping = asyncio.Event()
        self._authenticator = authenticator
        self._metrics = metrics
        self._streams: set[EventStream] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._per_caller: Counter[str] = Counter()
        self._clock: asyncio.Task[None] | None = None
        self._chores: set[asyncio.Task[None]] = set()
        shortest = min(config.ping_seconds, config.stall_seconds, config.recheck_seconds)
        self._tick_seconds = min(1.0, shortest / 4)

    def admit(self, access: Access) -> None:
        """Refuse a stream beyond what this process, or one caller, may hold.

        Raises:
            RateLimitedError: the caller holds too many.
            DrainingError: the process shuts down.
        """
        if self.is_draining:
            raise DrainingError("this process is shutting down; ask again in a moment")
        full = len(self._streams) >= self.config.most
        if full or self._per_caller[access.caller] >= self.config.most_per_caller:
            raise RateLimitedError("too many event streams are open; close some")

    def add(self, stream: EventStream) -> None:
        """Look after `stream` until it is discarded."""
        now = asyncio.get_running_loop().time()
        stream.last_sent = stream.checked_at = now
        self._streams.add(stream)
        self._empty.clear()
        self._per_caller[stream.access.caller] += 1
        self._metrics.streams.set(len(self._streams))
        if self.is_draining:
            stream.end("shutdown")
        elif self._clock is None or self._clock.done():
            self._clock = asyncio.ensure_future(self._keep())

    def discard(self, stream: EventStream, why: str | None) -> None:
        """Forget a stream that has ended."""
        self._streams.discard(stream)
        if not self._streams:
            self._empty.set()
        caller = stream.access.caller
        self._per_caller[caller] -= 1
        if not self._per_caller[caller]:
            del self._per_caller[caller]
        self._metrics.streams.set(len(self._streams))
        if why not in {None, "gone"}:
            self._metrics.cut.labels(why).inc()

    def revoke(self, key_id: str | None) -> None:
        """End every stream of a key that was revoked; None: those opened while none was needed."""
        for stream in list(self._streams):
            if stream.access.who.key_id == key_id:
                stream.end("revoked")

    async def drain(self, seconds: float) -> None:
        """Take no more streams, and end each with a notice; waits until they are gone."""
        self.is_draining = True
        self.stopping.set()
        for stream in list(self._streams):
            stream.end("shutdown")
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        for stream in list(self._streams):
            stream.abort()
        if self._clock is not None:
            self._clock.cancel()

    async def _keep(self) -> None:
        while self._streams:
            await asyncio.sleep(self._tick_seconds)
            now = asyncio.get_running_loop().time()
            for stream in list(self._streams):
                self._look_after(stream, now)

    def _look_after(self, stream: EventStream, now: float) -> None:
        if stream.is_sending:
            if now - stream.stuck_since >= self.config.stall_seconds:
                stream.abort()
        elif now - stream.last_sent >= self.config.ping_seconds - self._tick_seconds:
            self._do(stream.ping())
        if now - stream.checked_at >= self.config.recheck_seconds:
            stream.checked_at = now
            self._do(self._recheck(stream))

    async def _recheck(self, stream: EventStream) -> None:
        if not await self._authenticator.still_allowed(stream.access):
            stream.end("revoked")

    def _do(self, chore: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(chore)
        self._chores.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._chores.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOG.warning("a stream could not be looked after: %s", task.exception())
