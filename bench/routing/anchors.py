"""What the router is compared with: ways to score a prompt that nobody had to fit."""

import re
from random import Random

_HARD = (
    *("prove", "proof", "derive", "theorem", "algorithm", "optimize", "complexity", "architecture"),
    *("analyze", "compare", "evaluate", "explain", "reason", "step by step", "calculate", "solve"),
    *("design", "implement", "debug", "refactor", "distributed", "database", "integral", "matrix"),
    *("probability", "equation", "contract", "liability", "diagnosis", "constraint", "trade-off"),
)
_EASY = ("what is", "who is", "when", "define", "list", "translate", "hello", "thanks", "name")
_MARKS = re.compile(r"```|[=^\u222b\u2211\u221a]|\d+\s*[+*/-]\s*\d+")


def by_keywords(prompt: str) -> float:
    """Return the score of a usual keyword router: hard words and signs, less easy words."""
    lower = prompt.lower()
    hard = sum(word in lower for word in _HARD) + min(3, len(_MARKS.findall(prompt)))
    return hard - 0.5 * sum(word in lower for word in _EASY) + min(1.0, len(prompt) / 2000)


def by_length(prompt: str) -> float:
    """Return the length of the prompt."""
    return float(len(prompt))


def by_chance(prompt: str) -> float:
    """Return a number that has nothing to do with the prompt but is always the same for it."""
    return Random(prompt).random()
