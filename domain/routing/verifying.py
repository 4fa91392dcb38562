"""A cheap look at an answer: what is wrong with it on its face. Asks no model.

A flaw is a signal, not a proof: what it means is for `cascade.py` to weigh.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from domain.jsonschema import problems
from domain.pattern import late_pattern


class Flaw(StrEnum):
    """What a cheap look finds."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    SCHEMA = "schema"
    """It is no JSON, or not the JSON that was asked for."""
    TOOL_ERROR = "tool_error"
    """A tool call of it failed and nothing else came of it."""
    REFUSAL = "refusal"
    LOW_CONFIDENCE = "low_confidence"
    """It says itself that it does not know."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and what was asked of it."""

    text: str
    stop_reason: str = "stop"
    tool_errors: int = 0
    """Tool calls of the last turn that failed."""
    tool_calls: int = 0
    """Tool calls that it asks for now: then it has not answered yet."""
    wants_json: bool = False
    schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an answer passes, and what is wrong with it if not."""

    flaw: Flaw | None
    reason: str

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return self.flaw is None


_OPENING = 300
"""Letters from the start in which a refusal shows; later the words mean something else."""
_REFUSAL = late_pattern(
    r"\b(?:(?:sorry|afraid|apologi[sz]e)\b[^.!?\n]{0,60}\b(?:unable to"
    r"|(?:i|we) (?:cannot|can't|can not|won't|do not have|don't have)"
    r"|not (?:able|allowed|permitted|possible|something (?:i|we)))\b"
    r"|i (?:cannot|can't|am unable to|am not able to|won't)"
    r" (?:help|assist|answer|do|provide|comply|fulfill?|complete|access|process)\b(?! but\b)"
    r"|as an ai(?: language)? model\b|i must decline\b)",
    re.DOTALL,
)
_DOUBT = late_pattern(
    r"\b(?:i(?:'m| am) not (?:\w+ly |quite )?(?:sure|certain|confident)"
    r"|i (?:really )?(?:do not|don't) know\b"
    r"|(?:just|only) (?:a |my )?(?:best )?guess\b|i(?:'m| am) (?:just )?guessing\b"
    r"|low confidence\b|confidence\W{1,4}(?:low\b|0?\.[0-4]\d*|[0-4]?\d ?%))"
)


def verify(answer: Answer) -> Verdict:
    """Return the first flaw of an answer, the surest first."""
    if answer.tool_calls:
        return Verdict(None, "it asks for tools")
    for check in (_empty, _truncated, _schema, _tool_error, _refusal, _doubt):
        verdict = check(answer)
        if verdict is not None:
            return verdict
    return Verdict(None, "nothing is wrong on its face")


def _empty(answer: Answer) -> Verdict | None:
    return None if answer.text.strip() else Verdict(Flaw.EMPTY, "the answer is empty")


def _truncated(answer: Answer) -> Verdict | None:
    if answer.stop_reason not in {"length", "max_tokens"}:
        return None
    return Verdict(Flaw.TRUNCATED, "the answer was cut by its length limit")


def _schema(answer: Answer) -> Verdict | None:
    if not answer.wants_json and answer.schema is None:
        return None
    try:
        value = json.loads(unfenced(answer.text))
    except ValueError:
        return Verdict(Flaw.SCHEMA, "the answer is no JSON")
    found = problems(answer.schema, value) if answer.schema is not None else []
    return Verdict(Flaw.SCHEMA, f"the answer breaks its schema: {found[0]}") if found else None


def _tool_error(answer: Answer) -> Verdict | None:
    if not answer.tool_errors:
        return None
    return Verdict(Flaw.TOOL_ERROR, f"{answer.tool_errors} tool calls before it failed")


def _refusal(answer: Answer) -> Verdict | None:
    return _found(_REFUSAL, answer.text[:_OPENING], Flaw.REFUSAL, "the answer refuses")


def _doubt(answer: Answer) -> Verdict | None:
    return _found(_DOUBT, answer.text, Flaw.LOW_CONFIDENCE, "the answer doubts itself")


def _found(pattern: re.Pattern[str], text: str, flaw: Flaw, what: str) -> Verdict | None:
    match = pattern.search(text.lower().replace("\u2019", "'"))
    return Verdict(flaw, f"{what}: {match[0][:60]!r}") if match else None


def unfenced(text: str) -> str:
    """Return a text without the code fence that models like to put around JSON."""
    match = re.fullmatch(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", text, re.DOTALL)
    return match[1] if match else text
