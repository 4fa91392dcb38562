"""Classes of tasks, coarse on purpose: a class needs a hundred outcomes before it says anything.

Knows words and shapes; what a class is worth is learned elsewhere.
"""

from collections.abc import Callable
from enum import StrEnum

from domain.routing.reading import Reading, features, has_code, has_table, take_apart


class TaskClass(StrEnum):
    """What kind of work a request is."""

    CODE = "code"
    DATA = "data"
    """Rows of a table."""
    MATH = "math"
    CHOICE = "choice"
    """One of several answers is to be picked."""
    LONG = "long"
    """A text of more than 1,500 letters comes with it."""
    WRITING = "writing"
    QUESTION = "question"
    OTHER = "other"


_LONG = 1500
_WRITING = ("write", "draft", "compose", "translate", "summar", "rewrite", "rephrase", "edit")
_ASKING = ("what", "who", "when", "where", "why", "how", "which", "is ", "are ", "can ", "does ")
_SUM_SIGNS = 2
"""Signs of formulae that make a request mathematics, where numbers stand beside them."""


def task_class_of(request: str) -> TaskClass:
    """Return the first class whose sign a request shows."""
    seen = take_apart(request)
    return next((name for name, shows in _SIGNS if shows(seen)), TaskClass.OTHER)


def _is_math(seen: Reading) -> bool:
    found = features(seen)
    signs = found["formula_share"] * len(seen.text) / 20
    return (signs >= _SUM_SIGNS and found["numbers"] > 0) or found["how_many"] * found[
        "numbers"
    ] > 1


def _is_writing(seen: Reading) -> bool:
    lower = seen.question.lower()
    return any(word in lower[:200] for word in _WRITING)


def _is_question(seen: Reading) -> bool:
    question = seen.question.strip().lower()
    return question.endswith("?") or question.startswith(_ASKING)


_SIGNS: tuple[tuple[TaskClass, Callable[[Reading], bool]], ...] = (
    (TaskClass.CODE, has_code),
    (TaskClass.DATA, has_table),
    (TaskClass.CHOICE, lambda seen: bool(seen.options)),
    (TaskClass.LONG, lambda seen: seen.length > _LONG),
    (TaskClass.MATH, _is_math),
    (TaskClass.WRITING, _is_writing),
    (TaskClass.QUESTION, _is_question),
)
"""In the order in which they are looked for."""
