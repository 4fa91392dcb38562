"""How the stub streams one answer: the text, the tool calls, and what goes wrong on the way."""

import asyncio
import json
import math
import time
from collections.abc import Iterator
from typing import cast

from tests.stub.http import Exchange
from tests.stub.marks import Marks
from tests.stub.requests import Prompt
from tests.stub.wire import Call, OpenAIWire, Usage, Wire, openai_whole

_HUGE_PIECE = 64 * 1024
_DEEP = 2000
"""Levels of nesting of the deep JSON; more than Python's parser takes."""


class Pipe:
    """Sends events as the marks want them cut."""

    def __init__(self, exchange: Exchange, marks: Marks) -> None:
        self._exchange = exchange
        self._drip = marks.number("drip_ms") / 1000
        self._split = marks.count("split") or 0
        self._crlf = marks.has("crlf")
        self._prefix = b"\xef\xbb\xbf" if marks.has("bom") else b""

    async def send(self, data: bytes) -> None:
        """Send one or more whole events."""
        if self._crlf:
            data = data.replace(b"\n", b"\r\n")
        data, self._prefix = self._prefix + data, b""
        step = 1 if self._drip else self._split
        if not step:
            await self._exchange.send(data)
            return
        for at in range(0, len(data), step):
            await self._exchange.send(data[at : at + step])
            if self._drip:
                await self._exchange.sleep(self._drip)
            else:
                await asyncio.sleep(0)


class Answer:
    """One streamed answer."""

    def __init__(
        self, exchange: Exchange, wire: Wire, prompt: Prompt, marks: Marks, number: int
    ) -> None:
        self._exchange = exchange
        self._wire = wire
        self._prompt = prompt
        self._marks = marks
        self._number = number
        self._pipe = Pipe(exchange, marks)
        self.sent_tokens = 0

    async def stream(self) -> None:
        """Stream the answer to its end, or to where the marks cut it."""
        marks = self._marks
        await self._exchange.start_stream()
        opening = self._wire.opening(self._prompt.model, self.usage(0))
        if marks.has("keepalive_only"):
            await self._keep_alive()
        for event in opening:
            await self._pipe.send(event)
        if marks.has("garbage"):
            await self._garbage(marks.text("garbage"))
        calls = self._calls()
        if calls:
            for event in self._wire.calls(calls):
                await self._pipe.send(event)
        elif not await self._tokens():
            return
        await self._finish("tool" if calls else "text")

    async def whole(self) -> None:
        """Answer in one piece, as OpenAI does without `stream`."""
        marks = self._marks
        await self._exchange.sleep(marks.number("first_ms") / 1000)
        if marks.text("garbage") == "invalid_json":
            await self._exchange.reply(b'{"choices": [', 200, {"content-type": "application/json"})
            return
        calls = self._calls()
        words = [] if calls else list(self._words())
        self.sent_tokens = len(words)
        usage = None if marks.has("no_usage") else self.usage(self.sent_tokens)
        head = (self._prompt.model, marks.text("finish", "tool_calls" if calls else "stop"))
        await self._exchange.reply_json(openai_whole(head, "".join(words), calls, usage))

    async def _keep_alive(self) -> None:
        gap = self._marks.number("gap_ms", 20) / 1000
        while True:
            for event in self._wire.keepalives():
                await self._pipe.send(event)
                await self._exchange.sleep(gap)

    async def _tokens(self) -> bool:
        """Send the text; False when it was cut and the answer is over."""
        gap = self._marks.number("gap_ms") / 1000
        start = time.monotonic() + self._marks.number("first_ms") / 1000
        for at, word in enumerate(self._words()):
            wait = start + at * gap - time.monotonic()
            if wait > 0:
                await self._exchange.sleep(wait)
            if await self._is_cut(at):
                return False
            await self._pipe.send(self._wire.text(self._stamp(word)))
            self.sent_tokens += 1
        return not await self._is_cut(self.sent_tokens)

    async def _is_cut(self, at: int) -> bool:
        marks = self._marks
        if marks.count("stall_after") == at:
            await self._exchange.hang()
        if marks.count("reset_after") == at:
            self._exchange.reset()
            return True
        if marks.count("error_after") == at:
            kind = marks.text("error_type", "overloaded_error")
            await self._pipe.send(self._wire.error(kind, marks.text("error_text", "stub error")))
        elif marks.count("half_close_after") != at:
            return False
        await self._exchange.end()
        return True

    def _stamp(self, word: str) -> str:
        if not self._marks.has("clock"):
            return word
        return f"{word.rstrip()}@{time.monotonic_ns()} "

    def _words(self) -> Iterator[str]:
        marks = self._marks
        if marks.has("huge_text"):
            for _ in range(0, marks.size("huge_text"), _HUGE_PIECE):
                yield "x" * _HUGE_PIECE
        elif marks.has("huge_event"):
            yield "x" * marks.size("huge_event")
        elif marks.has("tokens"):
            count = int(marks.number("tokens"))
            for at in range(count):
                yield f"t{at}" + ("" if at == count - 1 else " ")
        else:
            words = self._text().split(" ")
            yield from (word + " " for word in words[:-1])
            yield words[-1]

    def _text(self) -> str:
        results = self._prompt.tool_results()
        default = f"The tool said: {', '.join(results)}" if results else "Hello from the stub."
        return self._marks.text("say", default)

    def _calls(self) -> list[Call]:
        marks = self._marks
        turns = int(marks.number("tool_turns", 1))
        if self._prompt.turn() >= turns:
            return []
        tools = list(marks.tools)
        fallback = self._prompt.tools[0] if self._prompt.tools else "noop"
        tools += [(fallback, "{}")] * int(marks.number("tool_calls"))
        if marks.has("huge_args"):
            tools.append((fallback, json.dumps({"x": "x" * marks.size("huge_args")})))
        return [(f"call_{self._number}_{at}", *tool) for at, tool in enumerate(tools)]

    async def _finish(self, kind: str) -> None:
        marks = self._marks
        words = {"tool": "tool_calls", "text": "stop"}
        if not isinstance(self._wire, OpenAIWire):
            words = {"tool": "tool_use", "text": "end_turn"}
        reason = "" if marks.has("no_finish") else marks.text("finish", words[kind])
        usage = None if marks.has("no_usage") else self.usage(self.sent_tokens)
        for event in self._wire.finish(reason, usage):
            await self._pipe.send(event)
        if not marks.has("no_done"):
            await self._pipe.send(self._wire.done())
        if marks.has("linger"):
            await self._exchange.hang()
        await self._exchange.end()

    def usage(self, output: int) -> Usage:
        """Return what an answer of so many tokens uses."""
        size = sum(len(text) for _, text in self._prompt.messages) // 4
        marks = self._marks
        return Usage(
            input=int(marks.number("usage_input", size)),
            output=int(marks.number("usage_output", output)),
            cached=int(marks.number("usage_cached")),
        )

    async def _garbage(self, kind: str) -> None:
        nan = cast("int", math.nan)
        corpus = {
            "invalid_json": lambda: [self._wire.raw('{"choices": [')],
            "deep": lambda: [self._wire.raw('{"x": ' + "[" * _DEEP + "]" * _DEEP + "}")],
            "wrong_types": lambda: [self._wire.raw('{"type": 7, "choices": {"delta": []}}')],
            "surrogate": lambda: [self._wire.text("a\ud800b ")],
            "nul": lambda: [self._wire.text("a\0b ")],
            "unknown_tool": lambda: self._wire.calls([("call_unknown", "no_such_tool", "{}")]),
            "nan_usage": lambda: self._wire.finish("", Usage(nan, nan)),
        }
        for event in corpus[kind]():
            await self._pipe.send(event)
