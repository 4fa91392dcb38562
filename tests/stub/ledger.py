"""The effect ledger: a server that counts every side effect, by key.

`python -m tests.stub.ledger --port 0`, or `async with Ledger().serve() as server` in-process.

| path | what |
|---|---|
| `POST /effect` | `{"key", "tool"}`, more is ignored -> `{"key", "arrivals"}`; counted at once |
| `POST /hold` | replies to later effects wait until released; `{"key"}` holds that key only |
| `POST /release` | lets every held reply go, also to clients that are gone; holds end |
| `GET /ledger` | `{"effects": [{"key", "tool", "arrivals", "answered"}], "held": n}`, by arrival |
| `POST /reset` | forgets everything |
"""

import argparse
import asyncio
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, field

from tests.stub.http import Exchange, StubServer, run_forever, serving

_EVERY_KEY = "*"


@dataclass(slots=True)
class Effect:
    """What is known of one key."""

    key: str
    tool: str
    arrivals: int = 0
    answered: int = 0
    """Replies that the client was still there for."""


@dataclass(slots=True)
class Ledger:
    """Every effect that arrived."""

    effects: dict[str, Effect] = field(default_factory=dict)
    holds: set[str] = field(default_factory=set)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    held: int = 0

    def serve(self, port: int = 0) -> AbstractAsyncContextManager[StubServer]:
        """Serve while the block runs."""
        return serving(self.handle, port)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request."""
        path = exchange.request.path
        if path == "/effect":
            await self._record(exchange)
        elif path == "/hold":
            self.holds.add(str(exchange.request.json().get("key", _EVERY_KEY)))
            await exchange.reply_json({"holds": sorted(self.holds)})
        elif path == "/release":
            self._release()
            await exchange.reply_json({})
        elif path == "/reset":
            self._release()
            self.effects.clear()
            await exchange.reply_json({})
        elif path == "/ledger":
            rows = [asdict(effect) for effect in self.effects.values()]
            await exchange.reply_json({"effects": rows, "held": self.held})
        else:
            await exchange.reply_json({"status": "ok"}, 200 if path == "/health" else 404)

    async def _record(self, exchange: Exchange) -> None:
        body = exchange.request.json()
        key = str(body["key"])
        effect = self.effects.setdefault(key, Effect(key, str(body.get("tool", ""))))
        effect.arrivals += 1
        arrivals = effect.arrivals
        if {key, _EVERY_KEY} & self.holds:
            self.held += 1
            try:
                await self.released.wait()
            finally:
                self.held -= 1
        await exchange.reply_json({"key": key, "arrivals": arrivals})
        effect.answered += 1

    def _release(self) -> None:
        self.holds.clear()
        self.released.set()
        self.released = asyncio.Event()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Counts side effects by key.")
    parser.add_argument("--port", type=int, default=0)
    run_forever(Ledger().handle, parser.parse_args().port)
