"""The language of `offline/script`: what the last user message says, the model does.

A script is lines; `---` on a line of its own separates turns. The turn of a reply is the number of
assistant messages since the last user message; past the last turn the reply is `The script is
over.` A line that cannot be read fails the call with `ModelRequestError`, which names it.

| line | meaning |
|---|---|
| `say <text>` | these words; several lines are joined with line ends. `{result}` stands for the tool results just before, `{turn}` for the turn's number from 0 |
| `tokens=50` | words `t0 t1 ... t49`, after any `say` |
| `gap_ms=20` `first_ms=300` | real pauses between words, before the first; none by default |
| `clock` | each word but the first is `<word>@<time.monotonic_ns() at departure>` |
| `call <tool> <json>` | a tool call; several in a turn are parallel. No JSON means `{}` |
| `loop <n> call <tool> <json>` | the turn, with all its lines, n times over |
| `fail <kind>` | rate_limited, unavailable, timeout, incomplete, malformed, bad_request, auth or too_large; with `retry_after=<seconds>`, `after=<words>` and `times=<n> id=<name>`: only the first n attempts with this id in this process |
| `stall` | sends nothing and never ends |
| `hang_after=5` | sends nothing more after 5 words |
| `usage input=10 output=5 cached=2` | what the usage says, instead of the estimate |
| `stop=length` | the stop reason |
| `# ...` | a comment |

Pairs may share a line: `tokens=50 gap_ms=20 first_ms=300`. The label of the reply is a part of its
first word, so `tokens=50` is 50 deltas.
"""  # noqa: E501 - a table row is one line

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

from adapters.llm.offline_plan import Failure, Plan
from domain.chat import ChatRequest
from domain.errors import (
    MalformedReplyError,
    ModelAuthError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    OrchestratorError,
    ReplyTooLargeError,
    StreamIncompleteError,
)

_FAILURES: dict[str, type[OrchestratorError]] = {
    "rate_limited": ModelRateLimitedError,
    "unavailable": ModelUnavailableError,
    "timeout": ModelTimeoutError,
    "incomplete": StreamIncompleteError,
    "malformed": MalformedReplyError,
    "bad_request": ModelRequestError,
    "auth": ModelAuthError,
    "too_large": ReplyTooLargeError,
}
_NUMBERS = {
    "tokens": ("tokens", 1),
    "gap_ms": ("gap_seconds", 0.001),
    "first_ms": ("first_seconds", 0.001),
    "hang_after": ("hang_after", 1),
}
"""A pair's name to a field of `Plan`, and the factor between them."""
_MOST_WORDS = 1_000_000
_SEPARATOR = "---"


@dataclass(slots=True)
class _Turn:
    """A turn while it is read."""

    fields: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    calls: list[tuple[str, str]] = field(default_factory=list)
    repeat: int = 1

    def plan(self) -> Plan:
        return Plan(text="\n".join(self.said), calls=tuple(self.calls), **self.fields)


def plan_script(request: ChatRequest) -> Plan:
    """Return the plan of the turn that `request` is at.

    Raises:
        ModelRequestError: the script cannot be read.
    """
    turn, script = _position(request)
    left = turn
    for plan, repeat in _parse(script):
        if left < repeat:
            return _filled(plan, request, turn)
        left -= repeat
    return Plan(text="The script is over.")


def _position(request: ChatRequest) -> tuple[int, str]:
    turn = 0
    for message in reversed(request.messages):
        if message.role == "user":
            return turn, message.content
        turn += message.role == "assistant"
    return turn, ""


def _filled(plan: Plan, request: ChatRequest, turn: int) -> Plan:
    if "{" not in plan.text:
        return plan
    results: list[str] = []
    for message in reversed(request.messages):
        if message.role != "tool":
            break
        results.insert(0, message.content)
    text = plan.text.replace("{result}", ", ".join(results)).replace("{turn}", str(turn))
    return replace(plan, text=text)


@lru_cache(maxsize=128)
def _parse(script: str) -> tuple[tuple[Plan, int], ...]:
    turns = [_Turn()]
    for number, raw in enumerate(script.splitlines(), start=1):
        line = raw.strip()
        try:
            if line == _SEPARATOR:
                turns.append(_Turn())
            elif line and not line.startswith("#"):
                _read_line(turns[-1], line)
        except (ValueError, RecursionError) as error:
            raise ModelRequestError(
                f"line {number} of the offline script cannot be read: {error}"
            ) from error
    return tuple((turn.plan(), turn.repeat) for turn in turns)


def _read_line(turn: _Turn, line: str) -> None:
    word, _, rest = line.partition(" ")
    if word == "say":
        turn.said.append(rest)
    elif word == "call":
        turn.calls.append(_read_call(rest))
    elif word == "loop":
        count, _, call = rest.partition(" ")
        turn.repeat = _count(count)
        _read_line(turn, call.strip())
    elif word == "fail":
        turn.fields["failure"] = _read_failure(rest)
    elif word == "usage":
        turn.fields["usage"] = {name: _count(value) for name, value in _pairs(rest)}
    else:
        for name, value in _pairs(line):
            _read_pair(turn, name, value)


def _read_call(rest: str) -> tuple[str, str]:
    name, _, arguments = rest.strip().partition(" ")
    if not name:
        raise ValueError("call needs the name of a tool")
    arguments = arguments.strip() or "{}"
    json.loads(arguments)
    return name, arguments


def _read_failure(rest: str) -> Failure:
    kind, _, options = rest.strip().partition(" ")
    if kind not in _FAILURES:
        raise ValueError(f"fail {kind!r} is none of {', '.join(_FAILURES)}")
    given = dict(_pairs(options))
    wait = given.pop("retry_after", None)
    after, times = given.pop("after", None), given.pop("times", None)
    failure = Failure(
        kind=_FAILURES[kind],
        retry_after=None if wait is None else timedelta(seconds=float(wait)),
        after=None if after is None else _count(after),
        times=None if times is None else _count(times),
        id=given.pop("id", ""),
    )
    if given:
        raise ValueError(f"fail does not know {', '.join(given)}")
    return failure


def _read_pair(turn: _Turn, name: str, value: str) -> None:
    if name in _NUMBERS:
        target, factor = _NUMBERS[name]
        turn.fields[target] = _count(value) * factor
    elif name == "stop" and value:
        turn.fields["stop"] = value
    elif name == "stall" and not value:
        turn.fields["hang_after"] = 0
    elif name == "clock" and not value:
        turn.fields["clock"] = _stamp
    else:
        raise ValueError(f"unknown word {name!r}")


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for word in text.split():
        name, _, value = word.partition("=")
        yield name, value


def _count(value: str) -> int:
    number = int(value)
    if not 0 <= number <= _MOST_WORDS:
        raise ValueError(f"{value} is not between 0 and {_MOST_WORDS}")
    return number


def _stamp(word: str) -> str:
    return f"{word.rstrip()}@{time.monotonic_ns()} "
