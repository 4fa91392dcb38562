"""The rules of `offline/assistant`: a few questions it answers with tools, and a plain reply.

Arithmetic goes to the tool `calculator`: `a op b` as {operation, a, b}, and what is longer as
{expression}, if the tool takes that. "what time" goes to `time` {action}, "reverse 'some text'" and
its like to `text` {operation, text}, if the agent has them. "ask math: ..." is handed to the agent
`math` with `spawn_run`, and nothing else of it is looked at. After tool results it answers with
them. It remembers the conversation as far as it says what was said before.
"""

import ast
import json
import re
from collections.abc import Iterator

from adapters.llm.offline_plan import Plan
from domain.chat import ChatMessage, ChatRequest
from domain.pattern import late_pattern
from domain.tool import SPAWN_TOOL

_NUMBER = r"(-?\d{1,30}(?:\.\d{1,30})?)"
_ARITHMETIC = late_pattern(
    rf"{_NUMBER}\s*"
    r"(\+|\*|\u00d7|x(?=\s*-?\d)|/|\u00f7|(?<=\s)[-\u2212](?=\s)"
    r"|plus|minus|times|multiplied by|divided by|over)"
    rf"\s*{_NUMBER}",
    re.IGNORECASE,
)
_OPERATIONS = {
    "add": ("+", "plus"),
    "subtract": ("-", "\u2212", "minus"),
    "multiply": ("*", "\u00d7", "x", "times", "multiplied by"),
    "divide": ("/", "\u00f7", "divided by", "over"),
}
_SYMBOLS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_SPELLED = {
    "plus": "+",
    "minus": "-",
    "\u2212": "-",
    "times": "*",
    "multiplied by": "*",
    "\u00d7": "*",
    "x": "*",
    "divided by": "/",
    "over": "/",
    "\u00f7": "/",
    "^": "**",
}
"""Operators as people write them to those of an expression."""
_WORDS = r"x(?=\s{0,9}[-\d(])|\b(?:plus|minus|times|multiplied by|divided by|over)\b"
_FUNCTIONS = r"(?<![A-Za-z_])(?:abs|ceil|exp|floor|ln|log10|round|sqrt)(?=\()"
_RUN = late_pattern(
    rf"(?:\d+(?:\.\d+)?|[-+*/^()\s\u00d7\u00f7\u2212]|%(?=\s{{0,9}}[\d(])|{_FUNCTIONS}|{_WORDS})++",
    re.IGNORECASE,
)
"""Text that holds nothing but numbers, operators, parentheses and functions of one number."""
_SIGN = late_pattern(rf"{_WORDS}|[\u00d7\u00f7\u2212^]")
_IS_SUM = late_pattern(r"[a-z+*/%]|\s-\s|\)-|-\(")
"""What a date or a telephone number has not: it is digits with dashes between them."""
_LONG_FRACTION = late_pattern(r"(?=[\d.]{17})\d+\.\d")
"""A fraction of more digits than a number in JSON keeps: exact only in an expression."""
_LONGEST = 500
"""Characters of an expression."""
_TIME = late_pattern(r"\b(?:what|which|tell me the|current)\b.{0,20}\btime\b", re.IGNORECASE)
_TEXT = late_pattern(
    r"\b(uppercase|lowercase|title|reverse|count|trim|word_count)\b[^\"']{0,40}[\"'](.+?)[\"']",
    re.IGNORECASE,
)
_ASK = late_pattern(r"\s*ask\s+([A-Za-z0-9][A-Za-z0-9_.-]{0,99})\s*:\s*(\S.*)", re.I | re.DOTALL)
_QUOTED = 200
"""Characters of an earlier message that are repeated."""


def plan_assistant(request: ChatRequest) -> Plan:
    """Return what the assistant says or calls next."""
    results = _results(request.messages)
    if results:
        return Plan(text=" ".join(results))
    asked = next((m.content for m in reversed(request.messages) if m.role == "user"), "")
    tools = {tool.name: tool.parameters for tool in request.tools}
    handed_on = _ASK.fullmatch(asked) if SPAWN_TOOL in tools else None
    if handed_on:
        work = {"agent_id": handed_on[1], "input": handed_on[2]}
        return Plan(calls=((SPAWN_TOOL, json.dumps(work, ensure_ascii=False)),))
    whole = "expression" in tools.get("calculator", {}).get("properties", {})
    calls = tuple(
        (name, json.dumps(arguments, ensure_ascii=False))
        for name, arguments in _calls(asked, whole=whole)
        if name in tools
    )
    if calls:
        return Plan(calls=calls)
    return Plan(text=_plain(request.messages, asked))


def _calls(asked: str, *, whole: bool) -> Iterator[tuple[str, dict[str, object]]]:
    for arguments in _sums(asked) if whole else _plain_sums(asked):
        yield "calculator", arguments
    if _TIME.search(asked):
        yield "time", {"action": "current"}
    for operation, text in _TEXT.findall(asked):
        yield "text", {"operation": operation.lower(), "text": text}


def _plain_sums(asked: str) -> Iterator[dict[str, object]]:
    for a, sign, b in _ARITHMETIC.findall(asked):
        yield {"operation": _operation(sign), "a": _number(a), "b": _number(b)}


def _sums(asked: str) -> Iterator[dict[str, object]]:
    """Yield the arguments for each piece of arithmetic, `a op b` or longer."""
    for run in _RUN.findall(asked):
        text = _trimmed(_SIGN.sub(_spelled, run.strip().lower()[: _LONGEST * 2]))
        if _ARITHMETIC.fullmatch(text.strip("( )")) and not _LONG_FRACTION.search(text):
            yield from _plain_sums(text)
        elif _is_expression(text):
            if _IS_SUM.search(text):
                yield {"expression": " ".join(text.split())}
        elif "(" not in run and ")" not in run:
            # Several sums without a word between them. Out of parentheses a part would be wrong.
            yield from _plain_sums(run)


def _spelled(found: re.Match[str]) -> str:
    return f" {_SPELLED[found[0]]} "


def _trimmed(text: str) -> str:
    """Return `text` without what belongs to the sentence around it."""
    opened = text.count("(") - text.count(")")
    while True:
        text = text.strip()
        if text.endswith(("+", "-", "*", "/", "%")):
            text = text[:-1]
        elif text.startswith(("+", "*", "/", "- ")):
            text = text[1:]
        elif opened > 0 and (text.startswith("(") or text.endswith("(")):
            text = text[1:] if text.startswith("(") else text[:-1]
            opened -= 1
        elif opened < 0 and (text.startswith(")") or text.endswith(")")):
            text = text[1:] if text.startswith(")") else text[:-1]
            opened += 1
        else:
            return text


def _is_expression(text: str) -> bool:
    """Say whether `text` is well-formed and calls nothing but the functions it may."""
    if len(text) > _LONGEST:
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return all(isinstance(call.func, ast.Name) and len(call.args) == 1 for call in calls)


def _operation(sign: str) -> str:
    return next(name for name, signs in _OPERATIONS.items() if sign.lower() in signs)


def _number(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def _results(messages: tuple[ChatMessage, ...]) -> list[str]:
    """Return a sentence for each tool result at the end of the conversation."""
    asked = {call.call_id: call for message in messages for call in message.tool_calls}
    sentences: list[str] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        call = asked.get(message.tool_call_id or "")
        name, arguments = (call.name, call.arguments) if call else ("the tool", "{}")
        sentences.insert(0, _sentence(name, arguments, _value(message.content)))
    return sentences


def _sentence(name: str, arguments: str, value: str) -> str:
    if name == "calculator":
        given = _arguments(arguments)
        if "expression" in given:
            return f"{given['expression']} = {value}."
        symbol = _SYMBOLS.get(str(given.get("operation")), "?")
        return f"{given.get('a')} {symbol} {given.get('b')} = {value}."
    return f"{name} says {value}."


def _arguments(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _value(content: str) -> str:
    """Return what a tool result says: its one value, or all of it."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if isinstance(value, dict) and "result" in value:
        value = value["result"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(messages: tuple[ChatMessage, ...], asked: str) -> str:
    answer = f"No model is configured, so this is a prepared answer to: {_short(asked)}"
    earlier = [m.content for m in messages if m.role == "assistant" and m.content]
    if not earlier:
        return answer
    return f"{answer} Said before in this conversation: {_short(earlier[-1])}"


def _short(text: str) -> str:
    text = " ".join(text.removeprefix("[offline] ").split())
    return f'"{text if len(text) <= _QUOTED else text[:_QUOTED] + "..."}"'
