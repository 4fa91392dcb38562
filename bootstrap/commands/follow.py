"""The events of one run, each once and in order, however often the connection breaks.

Source: WHATWG HTML 9.2; reference/protocols.md 4.1.
"""

import json
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from adapters.llm.sse import SseParser
from bootstrap.commands.failure import CommandError, ServerAwayError
from bootstrap.commands.wire import Json, at
from bootstrap.terminal import note

if TYPE_CHECKING:
    import httpx2

    from bootstrap.commands.api import Api

TERMINAL = frozenset({"run_done", "run_failed", "run_cancelled"})
_PATIENCE_SECONDS = 60.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0

OpenApi = Callable[[], AbstractContextManager["Api"]]
"""Connects to the server, wherever it is now."""


@dataclass
class RunStream:
    """A run that is started or looked at, and what was seen of it.

    Args:
        open_api: called for every connection.
        start: the body of `POST /v1/runs`; None when `run_id` exists.
        run_id: known from the beginning, or from the first answer on.
        last_seq: the last event that was handed out.
        patience: seconds without a server before we give up; the run goes on without us.
        come_back: says of a run what becomes of it without us, and how to see it again.
    """

    open_api: OpenApi
    start: Json | None = None
    run_id: str | None = None
    last_seq: int = 0
    patience: float = _PATIENCE_SECONDS
    come_back: Callable[[str], str] = "the run goes on: orchestrator runs tail {}".format
    was_asked: bool = False
    """Whether a start was sent: from then on there may be a run, even if nobody says so."""
    reconnects: int = 0
    _has_ended: bool = False
    _key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def events(self) -> Iterator[Json]:
        """Yield the run's events until it has ended.

        Raises:
            CommandError: the server refused, or stayed away too long.
        """
        outage = _Outage(self.patience)
        while not self._has_ended:
            try:
                for event in self._connection():
                    outage.over()
                    yield event
            except ServerAwayError as error:
                if self.run_id is None and not error.was_reached:
                    raise
                outage.wait(error.message, self.left())
            else:
                if not self._has_ended:
                    outage.wait("the server ended the stream", self.left())
            self.reconnects += not self._has_ended

    def left(self) -> str:
        """Say what becomes of the run when nobody watches any more."""
        if self.run_id is not None:
            return self.come_back(self.run_id)
        if self.was_asked:
            return "nobody knows yet whether a run was started: orchestrator runs list"
        return "nothing was started"

    def _connection(self) -> Iterator[Json]:
        """Yield what one connection brings that was not seen yet."""
        with self.open_api() as api, self._request(api) as response:
            self.run_id = self.run_id or _run_id(response.headers.get("location"))
            self._has_ended = response.status_code == 204
            parser = SseParser()
            for chunk in response.iter_bytes():
                for item in parser.feed(chunk):
                    event = json.loads(item.data)
                    # A notice such as `shutdown` is no event of the run and has no seq.
                    if event.get("seq", 0) > self.last_seq:
                        self.last_seq = event["seq"]
                        self._has_ended = event["type"] in TERMINAL
                        yield event
                if self._has_ended:
                    return

    def _request(self, api: "Api") -> AbstractContextManager["httpx2.Response"]:
        if self.run_id is None:
            # The key makes a repeated start find the first one's run.
            headers = {"idempotency-key": self._key}
            self.was_asked = True
            return api.stream("POST", "/v1/runs", headers=headers, body=self.start)
        headers = {"last-event-id": str(self.last_seq)}
        return api.stream("GET", at("/v1/runs/{}/events", self.run_id), headers=headers)


class _Outage:
    """How long the server has been away, and how long to wait before asking again."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._since: float | None = None
        self._pause = _FIRST_PAUSE

    def over(self) -> None:
        """Note that events arrive."""
        self._since = None

    def wait(self, why: str, left: str) -> None:
        """Pause before the next try; `left` says what remains if there is none.

        Raises:
            CommandError: it has been away for too long.
        """
        now = time.monotonic()
        if self._since is None:
            self._since, self._pause = now, _FIRST_PAUSE
            note(f"==> {why}; connecting again")
        elif now - self._since > self._patience:
            raise CommandError(f"{why}; {left}")
        time.sleep(self._pause)
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def _run_id(location: str | None) -> str | None:
    """Return the run that a `Location` such as `/v1/runs/run_x` names."""
    return location.rstrip("/").rpartition("/")[2] if location else None
