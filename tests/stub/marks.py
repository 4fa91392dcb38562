"""How a request tells the stub to behave: marks in the last user message.

A mark is `[[` words and `name=value` pairs `]]`; several marks in one message add up, a mark for a
model (`POST /control`) comes first. A value is a word, a quoted JSON string, or JSON in `{}`/`[]`.

| mark | what the stub does |
|---|---|
| `tokens=50` | streams `t0 t1 ...`, one per event |
| `say="some text"` | streams these words instead |
| `first_ms=300` `gap_ms=20` | waits before the first token, between tokens |
| `clock` | tokens are `t<i>@<time.monotonic_ns() at departure>` |
| `tool=calculator args={...}` | asks for this call in the first turn; a mark each, in parallel |
| `tool_turns=3` | asks for the calls in the first 3 turns; then answers |
| `usage_input=9` `usage_output=9` `usage_cached=4` | what usage says; `no_usage` says none |
| `finish=length` | the stop reason, in the wire format's own words |
| `status=429` | answers with this status and an error body |
| `retry_after=1` `retry_after_ms=1500` | the wait that goes with it |
| `retry_after=date:2` | the same as an HTTP date, in 2 seconds |
| `should_retry=false` | the `x-should-retry` header |
| `error_text="..."` `error_type=...` | what the error body says |
| `echo_key` | the error body repeats the caller's key |
| `redirect=http://...` | answers 307 |
| `html` | answers 200 with a page |
| `stall` | takes the request and never answers |
| `stall_after=5` | sends nothing more after 5 tokens |
| `half_close_after=10` | ends cleanly after 10 tokens, without the terminal marker |
| `reset_after=10` | cuts the connection after 10 tokens |
| `no_finish` `no_done` | leaves out the stop reason, the terminal marker |
| `linger` | keeps the connection open after the terminal marker |
| `keepalive_only` | comments (and pings) only, every `gap_ms` (20) |
| `drip_ms=1000` | one byte at a time, so far apart |
| `split=7` `crlf` `bom` | pieces of 7 bytes, CRLF line ends, a byte order mark |
| `error_after=3 error_type=overloaded_error` | an `error` object inside the stream after 3 tokens |
| `garbage=invalid_json` | also `nan_usage`, `surrogate`, `nul`, `deep`, `wrong_types` |
| `garbage=unknown_tool` | asks for a tool nobody offered |
| `huge_text=50MB` | text without end, 64 KiB an event |
| `huge_event=20MB` | one event of this size |
| `tool_calls=5000` `huge_args=10MB` | as many calls; a call with so large arguments |
| `times=2 id=a` | all this for the first 2 requests with this id; then a plain answer |
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

_MARK_START = "[["
_SIZE = re.compile(r"^(\d+)(B|KB|MB|KiB|MiB)?$")
_UNITS = {None: 1, "B": 1, "KB": 1000, "MB": 1_000_000, "KiB": 1024, "MiB": 1024 * 1024}
_DECODER = json.JSONDecoder()


@dataclass(slots=True)
class Marks:
    """What a message asked for: options by name, and tool calls in order."""

    options: dict[str, Any] = field(default_factory=dict)
    tools: list[tuple[str, str]] = field(default_factory=list)

    def number(self, name: str, default: float = 0) -> float:
        """Return an option as a number."""
        return float(self.options.get(name, default))

    def count(self, name: str) -> int | None:
        """Return an option as a whole number, None when it was not given."""
        value = self.options.get(name)
        return None if value is None else int(value)

    def size(self, name: str) -> int:
        """Return an option as a number of bytes."""
        match = _SIZE.match(str(self.options.get(name, "0")))
        if match is None:
            raise ValueError(f"{name} is not a size such as 50MB")
        return int(match[1]) * _UNITS[match[2]]

    def text(self, name: str, default: str = "") -> str:
        """Return an option as text."""
        return str(self.options.get(name, default))

    def has(self, name: str) -> bool:
        """Tell whether an option was given."""
        return name in self.options


def parse_marks(*texts: str) -> Marks:
    """Return the marks of all `texts`, later ones over earlier ones."""
    marks = Marks()
    for text in texts:
        start = text.find(_MARK_START)
        while start >= 0:
            options, end = _parse_mark(text, start + len(_MARK_START))
            if "tool" in options:
                arguments = options.pop("args", {})
                raw = arguments if isinstance(arguments, str) else json.dumps(arguments)
                marks.tools.append((str(options.pop("tool")), raw))
            marks.options.update(options)
            start = text.find(_MARK_START, end)
    return marks


def _parse_mark(text: str, at: int) -> tuple[dict[str, Any], int]:
    options: dict[str, Any] = {}
    while not text.startswith("]]", at):
        if at >= len(text):
            raise ValueError("a mark is not closed with ]]")
        if text[at].isspace():
            at += 1
            continue
        match = re.compile(r"[^\s=\]]+").match(text, at)
        if match is None:
            raise ValueError(f"not a mark: {text[at : at + 20]!r}")
        name, at = match[0], match.end()
        options[name] = True
        if text[at : at + 1] == "=":
            options[name], at = _parse_value(text, at + 1)
    return options, at + 2


def _parse_value(text: str, at: int) -> tuple[Any, int]:
    if text[at : at + 1] in ("{", "[", '"'):
        return _DECODER.raw_decode(text, at)
    match = re.compile(r"(?:(?!\]\])\S)*").match(text, at)
    assert match is not None
    return match[0], match.end()
