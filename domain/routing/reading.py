"""What is seen in a request at a glance: counts and shapes, each with a name. Judges nothing.

The features that the fit in `bench/routing/fit.py` learned from are exactly these; a change here
needs a new fit.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from domain.pattern import late_pattern

_HEAD, _TAIL = 1500, 1500
"""Letters that are looked at, from the start and to the end: the cost of a look is bounded."""
_OPTION = late_pattern(r"\n([A-J])[.)] ")
_NUMBER = late_pattern(r"\d+(?:[.,]\d+)*")
_WORD = late_pattern(r"[^\W\d_]+")
_FORMULA = late_pattern(
    r"[=<>+*/^\u2227\u2228\u2283~\u2261\u2200\u2203\u221a\u222b\u2211\u2264\u2265\u00b1\u2192\u2022\u00b7\u00d7\u00f7\\{}|]"
)
_NEGATION = late_pattern(
    r"\b(?:not|except|least|never|false|incorrect|without|neither|nor|cannot|none)\b", re.IGNORECASE
)
_LOUD_NEGATION = late_pattern(r"\b(?:NOT|EXCEPT|LEAST|FALSE)\b")
_CODE = late_pattern(
    r"```|\bdef \w+\(|\bclass \w+[:({]|[;{}]\s*\n|\w\(\)|=>|#include|\bSELECT\b.+\bFROM\b"
)
_TABLE = late_pattern(r"^\s*\|.*\|\s*$|^(?:[^,\n]+,){3,}[^,\n]*$|\t.*\t", re.MULTILINE)
_STEP = late_pattern(
    r"^\s*(?:\d+[.)]|[-*])\s|\b(?:first|then|finally|step \d)\b", re.MULTILINE | re.IGNORECASE
)
_CONSTRAINT = late_pattern(
    r"\b(?:must|at least|at most|exactly|only|no more than|without|do not|don't|ensure|should)\b",
    re.IGNORECASE,
)
_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("statements", late_pattern(r"statement 1|scenario 1|premise|argument")),
    ("which_of", late_pattern(r"which of the following")),
    ("how_many", late_pattern(r"how (?:many|much|long|far)")),
    ("year", late_pattern(r"\b(?:1[0-9]|20)\d\d\b")),
    ("supposed", late_pattern(r"\b(?:if|suppose|assume|let|given)\b")),
    ("quoted", late_pattern(r"[\"\u201c]")),
    ("best_of", late_pattern(r"\b(?:best|most likely|most appropriate|primary|main|strongest)\b")),
    ("case", late_pattern(r"-year-old|patient|defendant|plaintiff|a man|a woman")),
)
_ALL_OR_NONE = late_pattern(r"\b(?:all|none|both|neither|any) (?:of|the|are)\b")
_TRUTH = late_pattern(r"(?:true|false|yes|no)\b")


@dataclass(frozen=True, slots=True)
class Reading:
    """A request taken apart: what is asked, and the answers to choose from, if it names some."""

    text: str
    question: str
    options: tuple[str, ...]
    length: int
    """Letters of the whole request."""


def take_apart(request: str) -> Reading:
    """Return a request taken apart; of a long one only the beginning and the end."""
    text = request if len(request) <= _HEAD + _TAIL else f"{request[:_HEAD]}\n{request[-_TAIL:]}"
    text = text.rstrip().removesuffix("Answer:").rstrip()
    found = list(_OPTION.finditer(text))
    starts = [place for place, match in enumerate(found) if match[1] == "A"]
    if not starts:
        return Reading(text, text, (), len(request))
    marks = found[starts[-1] :]
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    options = tuple(text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True))
    return Reading(text, text[: marks[0].start()], options, len(request))


def features(seen: Reading) -> dict[str, float]:
    """Return every feature by its name, always the same names in the same order."""
    asked = [word.lower() for word in _WORD.findall(seen.question)]
    offered = [[word.lower() for word in _WORD.findall(option)] for option in seen.options]
    return {
        **_lengths(seen),
        **_numbers(seen),
        **_forms(seen),
        **_wording(seen, [*asked, *(word for words in offered for word in words)]),
        **_options(seen, set(asked), [set(words) for words in offered]),
    }


def _lengths(seen: Reading) -> dict[str, float]:
    question = seen.question
    return {
        "length": math.log1p(seen.length),
        "question_length": math.log1p(len(question)),
        "options_length": math.log1p(sum(map(len, seen.options))),
        "sentences": math.log1p(len(re.findall(r"[.!?](?:\s|$)", question))),
        "lines": math.log1p(question.count("\n")),
    }


def _numbers(seen: Reading) -> dict[str, float]:
    asked = len(_NUMBER.findall(seen.question))
    with_number = [bool(_NUMBER.search(option)) for option in seen.options]
    bare = [
        has and len(_WORD.findall(option)) <= 1
        for has, option in zip(with_number, seen.options, strict=True)
    ]
    return {
        "numbers": math.log1p(len(_NUMBER.findall(seen.text))),
        "question_numbers": math.log1p(asked),
        "options_with_number": _share(with_number),
        "options_bare_number": _share(bare),
        "percent_or_money": float("%" in seen.text or "$" in seen.text),
    }


def _forms(seen: Reading) -> dict[str, float]:
    formulae = len(_FORMULA.findall(seen.text))
    question, lower = seen.question, seen.question.lower()
    shapes = {name: float(bool(pattern.search(lower))) for name, pattern in _SHAPES}
    return {
        "formula": math.log1p(formulae),
        "formula_share": 20 * formulae / max(1, len(seen.text)),
        "negation": float(bool(_NEGATION.search(question))),
        "loud_negation": float(bool(_LOUD_NEGATION.search(question))),
        "asks": float(question.rstrip().endswith("?")),
        "blank": float("_" in question),
        "colon": float(question.rstrip().endswith(":")),
        **shapes,
    }


def _wording(seen: Reading, words: Sequence[str]) -> dict[str, float]:
    count = max(1, len(words))
    capitals = sum(word[0].isupper() for word in _WORD.findall(seen.text))
    return {
        "word_length": sum(map(len, words)) / count / 5,
        "long_words": sum(len(word) >= 9 for word in words) / count,
        "capitals": capitals / count,
    }


def _options(seen: Reading, asked: set[str], offered: Sequence[set[str]]) -> dict[str, float]:
    options = seen.options
    sizes = [len(option) for option in options]
    alike = [len(a & b) / max(1, len(a | b)) for a, b in combinations(offered, 2)]
    lower = [option.lower() for option in options]
    return {
        "has_options": float(bool(options)),
        "options_alike": sum(alike) / len(alike) if alike else 0.0,
        "option_words": math.log1p(sum(map(len, offered)) / max(1, len(options))),
        "options_uneven": (max(sizes) - min(sizes)) / max(1, *sizes) if sizes else 0.0,
        "options_echo": sum(len(each & asked) for each in offered) / max(1, sum(map(len, offered))),
        "all_or_none": float(any(_ALL_OR_NONE.search(option) for option in lower)),
        "true_false": float(any(_TRUTH.match(option) for option in lower)),
        "options_negated": _share([bool(_NEGATION.search(option)) for option in options]),
    }


def _share(claims: Sequence[bool]) -> float:
    return sum(claims) / len(claims) if claims else 0.0


def has_code(seen: Reading) -> bool:
    """Whether a request shows program code."""
    return bool(_CODE.search(seen.text))


def has_table(seen: Reading) -> bool:
    """Whether a request shows rows of a table."""
    return len(_TABLE.findall(seen.text)) >= 2


def steps_of(seen: Reading) -> int:
    """Return how many steps a request spells out."""
    return len(_STEP.findall(seen.question))


def constraints_of(seen: Reading) -> int:
    """Return how many constraints a request puts on its answer."""
    return len(_CONSTRAINT.findall(seen.question))
