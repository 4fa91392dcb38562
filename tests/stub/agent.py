"""An external agent for tests: speaks the agent protocol of seed B, misbehaves on command.

`python -m tests.stub.agent --port 0`, or `async with StubAgent().serve() as server` in-process; its
endpoint is `server.url`. `POST /invoke` streams `delta`, `state`, then `done` or `error`;
`GET /health`; `POST /control` `{"marks": "[[...]]"}` for requests without marks; `GET /log` has
`{"requests": [{"run_id", "session_id", "headers", "messages", "outcome"}]}`; `POST /reset`.

Marks (`tests/stub/marks.py` has the syntax) stand in `input_message.content`:

| mark | what the agent does |
|---|---|
| `tokens=5` `say="..."` `gap_ms=20` `first_ms=300` | what it says, when; default: the input |
| `state=thinking detail="..." states=3` | a `state` before the text, so many times |
| `status=500` `stall` `stall_after=2` | refuses; never answers; stops after so many deltas |
| `no_done` | ends cleanly without `done` |
| `reset_after=2` | cuts the connection |
| `error=quota error_text="..."` | an `error` event instead of `done` |
| `malformed=json` | also `types`, `event` (unknown kind), `no_blank_line`, `content_type` |
| `huge_line=20MB` | one line of this size |
| `dones=2` | `done` twice, with different messages |
| `after_done` | a delta after `done` |
| `endless` | deltas for ever, every `gap_ms` (10) |
| `wrong_run` | deltas name another run |
| `no_final` | `done` without `final_message` |
| `keepalive_only` | comments only |
| `split=1` `crlf` `bom` `drip_ms=5` | how the bytes are cut |
"""

import argparse
import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from tests.stub.http import ClientGoneError, Exchange, StubServer, run_forever, serving
from tests.stub.marks import Marks, parse_marks
from tests.stub.script import Pipe


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


_MALFORMED = {
    "json": b"event: delta\ndata: {broken\n\n",
    "types": b'event: delta\ndata: {"text": 7}\n\n',
    "event": b'event: surprise\ndata: {"text": "x"}\n\n',
    "no_blank_line": b'event: delta\ndata: {"text": "x"}\n',
}


@dataclass(slots=True)
class StubAgent:
    """The agent's state: what was asked, and the marks for requests that have none."""

    log: list[dict[str, Any]] = field(default_factory=list)
    marks: str = ""

    def serve(self, port: int = 0) -> AbstractAsyncContextManager[StubServer]:
        """Serve while the block runs."""
        return serving(self.handle, port)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        path = exchange.request.path
        if path.endswith("/invoke"):
            await self._invoke(exchange)
        elif path.endswith("/health"):
            health = {"status": "ok", "version": "1.0.0", "capabilities": ["streaming"]}
            await exchange.reply_json(health)
        elif path == "/log":
            await exchange.reply_json({"requests": self.log})
        elif path in ("/control", "/reset"):
            self.marks = str(exchange.request.json().get("marks", ""))
            if path == "/reset":
                self.log.clear()
            await exchange.reply_json({})
        else:
            await exchange.reply_json({"error": "not found"}, 404)

    async def _invoke(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        said = str(body["input_message"]["content"])
        entry = {
            name: body.get(name) for name in ("run_id", "session_id", "agent_id", "input_message")
        }
        entry |= {"headers": sorted(exchange.request.headers), "outcome": "open"}
        entry["messages"] = len(body.get("messages") or [])
        self.log.append(entry)
        marks = parse_marks(said if "[[" in said else self.marks)
        try:
            await _answer(exchange, marks, said, str(body.get("run_id")))
            entry["outcome"] = "answered"
        except ClientGoneError:
            entry["outcome"] = "client_closed"
            raise


async def _answer(exchange: Exchange, marks: Marks, said: str, run_id: str) -> None:
    if marks.has("stall"):
        await exchange.hang()
    if marks.has("status"):
        await exchange.reply_json({"error": "refused"}, int(marks.number("status")))
        return
    kind = "application/json" if marks.text("malformed") == "content_type" else "text/event-stream"
    await exchange.start_stream(kind)
    pipe = Pipe(exchange, marks)
    while marks.has("keepalive_only"):
        await pipe.send(b": keep-alive\n\n")
        await exchange.sleep(0.02)
    if marks.has("state"):
        state = {"state": marks.text("state"), "detail": marks.text("detail")}
        for _ in range(int(marks.number("states", 1))):
            await pipe.send(_event("state", state))
    await exchange.sleep(marks.number("first_ms") / 1000)
    text = await _deltas(exchange, pipe, marks, said, run_id)
    if text is not None:
        await _ending(exchange, pipe, marks, text)


async def _deltas(
    exchange: Exchange, pipe: Pipe, marks: Marks, said: str, run_id: str
) -> str | None:
    """Send the text; None when the connection was cut."""
    named = "run_of_somebody_else" if marks.has("wrong_run") else run_id
    gap = marks.number("gap_ms", 10 if marks.has("endless") else 0) / 1000
    words = [f"t{at} " for at in range(int(marks.number("tokens")))]
    words = words or marks.text("say", f"You said: {said}").split(" ")
    if not marks.has("tokens"):
        words = [word + " " for word in words[:-1]] + words[-1:]
    sent: list[str] = []
    while True:
        for word in words:
            if marks.count("stall_after") == len(sent):
                await exchange.hang()
            if marks.count("reset_after") == len(sent):
                exchange.reset()
                return None
            await pipe.send(_event("delta", {"text": word, "run_id": named}))
            sent.append(word)
            await exchange.sleep(gap)
        if not marks.has("endless"):
            return "".join(sent)


async def _ending(exchange: Exchange, pipe: Pipe, marks: Marks, text: str) -> None:
    if marks.has("huge_line"):
        await pipe.send(_event("delta", {"text": "x" * marks.size("huge_line")}))
    if marks.text("malformed") in _MALFORMED:
        await pipe.send(_MALFORMED[marks.text("malformed")])
    if marks.has("error"):
        error = {"code": marks.text("error"), "message": marks.text("error_text", "stub error")}
        await pipe.send(_event("error", error))
    elif not marks.has("no_done"):
        usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
        for at in range(int(marks.number("dones", 1))):
            final = {} if marks.has("no_final") else {"final_message": text if not at else "other"}
            await pipe.send(_event("done", {"usage": usage} | final))
        if marks.has("after_done"):
            await pipe.send(_event("delta", {"text": "too late"}))
    await exchange.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An external agent that misbehaves on command.")
    parser.add_argument("--port", type=int, default=0)
    run_forever(StubAgent().handle, parser.parse_args().port)
