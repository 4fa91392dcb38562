"""A model provider for tests: speaks OpenAI's and Anthropic's wire formats, misbehaves on command.

`python -m tests.stub.provider --port 0` prints `{"port": ..., "url": ...}` and serves until killed;
in-process: `async with Provider().serve() as server` (`server.url`). Commands: `marks.py`.

| path | what |
|---|---|
| `POST .../chat/completions` | OpenAI; base URL `<url>/v1` |
| `POST .../messages` | Anthropic; base URL `<url>` |
| `GET .../models` | a list with one model |
| `POST /control` | `{"<model>": "[[marks]]"}`: how a model behaves by default; `""` takes it back |
| `GET /log?models=a,b` | `{"requests": [...]}` for these models, or for all; see `LogEntry` |
| `POST /reset` | forgets log, controls and counters |
"""

import argparse
import asyncio
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from tests.stub.http import ClientGoneError, Exchange, Request, StubServer, run_forever, serving
from tests.stub.marks import Marks, parse_marks
from tests.stub.requests import read_prompt
from tests.stub.script import Answer
from tests.stub.wire import AnthropicWire, OpenAIWire, Wire

_FAULTS = frozenset(
    {
        *("status", "redirect", "html", "stall", "stall_after", "half_close_after", "reset_after"),
        *("no_finish", "no_done", "keepalive_only", "drip_ms", "error_after", "garbage"),
        *("huge_text", "huge_event", "tool_calls", "huge_args"),
    }
)
"""What `times` counts; pace, text and tools stay when it has run out."""


@dataclass(slots=True)
class LogEntry:
    """One model request. Times are `time.monotonic_ns()`."""

    number: int
    path: str
    headers: list[str]
    """Names only."""
    model: str
    messages: int
    tools: list[str]
    at_ns: int
    outcome: str = "open"
    """open, answered (whole), refused (no stream), cut (by a mark) or client_closed."""
    ended_ns: int | None = None
    sent_tokens: int = 0
    billed_input: int = 0
    billed_output: int = 0
    """Tokens that a provider would charge: none for a refusal, what it did for all else."""
    asked: dict[str, Any] = field(default_factory=dict)
    """The body without its messages."""


@dataclass(slots=True)
class Provider:
    """The stub's state: what was asked and how to answer."""

    log: list[LogEntry] = field(default_factory=list)
    controls: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def arrived(self, count: int = 1) -> None:
        """Wait until this many requests have come."""
        while len(self.log) < count:
            await self._changed.wait()

    async def settled(self) -> list[LogEntry]:
        """Return the log once no request is open."""
        while any(entry.ended_ns is None for entry in self.log):
            await self._changed.wait()
        return self.log

    def serve(self, port: int = 0) -> AbstractAsyncContextManager[StubServer]:
        """Serve while the block runs."""
        return serving(self.handle, port)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        request = exchange.request
        if request.path.endswith("/chat/completions"):
            await self._complete(exchange, OpenAIWire())
        elif request.path.endswith("/messages"):
            await self._complete(exchange, AnthropicWire())
        elif request.path.endswith("/models"):
            data = [{"id": "stub-model", "object": "model", "created": 1, "owned_by": "stub"}]
            await exchange.reply_json({"object": "list", "data": data})
        else:
            await self._manage(exchange)

    async def _manage(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.path == "/log":
            wanted = request.query.get("models", "").split(",")
            found = [asdict(e) for e in self.log if wanted == [""] or e.model in wanted]
            await exchange.reply_json({"requests": found})
        elif request.path == "/control":
            self.controls.update(request.json())
            await exchange.reply_json(self.controls)
        elif request.path == "/reset":
            self.log.clear()
            self.controls.clear()
            self.counts.clear()
            await exchange.reply_json({})
        else:
            await exchange.reply_json({"status": "ok"}, 200 if request.path == "/health" else 404)

    async def _complete(self, exchange: Exchange, wire: Wire) -> None:
        body = exchange.request.json()
        prompt = read_prompt(body)
        entry = LogEntry(
            number=len(self.log) + 1,
            path=exchange.request.path,
            headers=sorted(exchange.request.headers),
            model=prompt.model,
            messages=len(prompt.messages),
            tools=list(prompt.tools),
            at_ns=time.monotonic_ns(),
            asked={name: value for name, value in body.items() if name != "messages"},
        )
        self.log.append(entry)
        self._tell()
        marks = self._marks(prompt.model, prompt.last_user())
        answer = Answer(exchange, wire, prompt, marks, entry.number)
        try:
            can_do = bool(body.get("stream")) or isinstance(wire, OpenAIWire)
            if await self._refuse(exchange, wire, marks, can_do):
                entry.outcome = "refused"
            elif not body.get("stream"):
                await answer.whole()
                entry.outcome = "answered"
            else:
                await answer.stream()
                entry.outcome = "cut" if marks.options.keys() & _FAULTS else "answered"
        except ClientGoneError:
            entry.outcome = "client_closed"
            raise
        finally:
            entry.sent_tokens = answer.sent_tokens
            if entry.outcome != "refused":
                usage = answer.usage(answer.sent_tokens)
                entry.billed_input, entry.billed_output = usage.input, usage.output
            entry.ended_ns = time.monotonic_ns()
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _marks(self, model: str, text: str) -> Marks:
        marks = parse_marks(self.controls.get(model, ""), text)
        times = marks.count("times")
        if times is not None:
            key = marks.text("id", model)
            self.counts[key] += 1
            if self.counts[key] > times:
                marks.options = {n: v for n, v in marks.options.items() if n not in _FAULTS}
        return marks

    async def _refuse(self, exchange: Exchange, wire: Wire, marks: Marks, can_do: bool) -> bool:
        """Answer without a stream if the marks, or a missing key, ask for it."""
        status = _status(exchange.request, marks, can_do)
        if marks.has("stall"):
            await exchange.hang()
        if marks.has("html"):
            await exchange.reply(b"<html>Welcome</html>", 200, {"content-type": "text/html"})
        elif marks.has("redirect"):
            await exchange.reply(b"", 307, {"location": marks.text("redirect")})
        elif status != 200:
            body = _error_body(exchange.request, wire, marks, status)
            await exchange.reply_json(body, status, _retry_headers(marks))
        else:
            return False
        return True


def _status(request: Request, marks: Marks, can_do: bool) -> int:
    if marks.has("status"):
        return int(marks.number("status"))
    if "authorization" not in request.headers and "x-api-key" not in request.headers:
        return 401
    return 200 if can_do else 400


def _error_body(request: Request, wire: Wire, marks: Marks, status: int) -> dict[str, Any]:
    kinds = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
    kind = "api_error" if status >= 500 else "invalid_request_error"
    message = marks.text("error_text", f"stub answers {status}")
    if marks.has("echo_key"):
        key = request.headers.get("x-api-key") or request.headers.get("authorization", "")
        message += f" to {key} ({key.removeprefix('Bearer ')})"
    return wire.error_body(marks.text("error_type", kinds.get(status, kind)), message)


def _retry_headers(marks: Marks) -> dict[str, str]:
    headers: dict[str, str] = {"x-request-id": "req_stub"}
    value = marks.text("retry_after")
    if value.startswith("date:"):
        until = datetime.now(UTC) + timedelta(seconds=float(value.removeprefix("date:")))
        headers["retry-after"] = format_datetime(until, usegmt=True)
    elif value:
        headers["retry-after"] = value
    if marks.has("retry_after_ms"):
        headers["retry-after-ms"] = marks.text("retry_after_ms")
    if marks.has("should_retry"):
        headers["x-should-retry"] = marks.text("should_retry")
    return headers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A model provider that misbehaves on command.")
    parser.add_argument("--port", type=int, default=0)
    run_forever(Provider().handle, parser.parse_args().port)
