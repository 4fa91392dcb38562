"""The receiver of the event push, as seed B's ingress: `POST /internal/send`. May misbehave.

What it answered with 2xx counts as taken; `arrivals` holds everything, repeats too.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from tests.stub.http import Exchange, StubServer, serving


@dataclass
class StubIngress:
    """Events by run, in the order in which they were taken."""

    taken: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    arrivals: list[str] = field(default_factory=list)
    sessions: dict[str, str] = field(default_factory=dict)
    """By run, whose session it was said to be."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of the last request."""
    status: int = 200
    """What every event is answered with."""
    refuses: set[str] = field(default_factory=set)
    """Runs whose events are answered with 500."""
    hangs: bool = False
    waits: bool = False
    """Takes an event and answers once `go` is set: the sender may die in between."""
    go: asyncio.Event = field(default_factory=asyncio.Event)

    def serve(self, port: int = 0) -> AbstractAsyncContextManager[StubServer]:
        """Serve while the block runs."""
        return serving(self.handle, port)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        if exchange.request.path != "/internal/send":
            await exchange.reply_json({"error": "not found"}, 404)
            return
        body = exchange.request.json()
        event, run_id = body["event"], body["event"]["run_id"]
        self.headers = exchange.request.headers
        self.arrivals.append(event["event_id"])
        if self.hangs:
            await exchange.hang()
        status = 500 if run_id in self.refuses else self.status
        if status == 200:
            self.sessions[run_id] = body["session_id"]
            self.taken.setdefault(run_id, []).append(event)
        if self.waits:
            await self.go.wait()
        await exchange.reply_json({"ok": status == 200, "delivered": True}, status)

    def once(self, run_id: str) -> list[dict[str, Any]]:
        """Return what a receiver that drops repeats by `event_id` has of a run."""
        return list({event["event_id"]: event for event in self.taken.get(run_id, [])}.values())

    def has_all(self, run_id: str) -> bool:
        """Whether the terminal event of a run was taken."""
        ends = ("run_done", "run_failed", "run_cancelled")
        return any(event["type"] in ends for event in self.taken.get(run_id, []))
