"""A small generated sample in the shape of the recorded data: it shows that the bench runs.

Its figures mean nothing: the prompts and the outcomes are made up.
"""

from random import Random

_SUBJECTS = ("sums", "words", "laws", "cells", "stars", "kings")
_TOPICS = {
    "banking": ("what is my balance", "transfer {n} dollars to savings", "pay my bill"),
    "travel": ("book a flight to rome", "is my flight late", "find a hotel for {n} nights"),
    "utility": ("set a timer for {n} minutes", "what is the weather", "roll a dice"),
    "kitchen_and_dining": ("how long do i cook rice", "book a table for {n}", "recipe for soup"),
}


def outcomes() -> list[tuple[str, str, bool, bool]]:
    """Return 240 prompts of six subjects; longer sums are harder for the weak model."""
    chance, rows = Random(7), []
    for number in range(240):
        task = _SUBJECTS[number % len(_SUBJECTS)]
        size = chance.randint(1, 9)
        terms = " + ".join(str(chance.randint(1, 99)) for _ in range(size))
        prompt = f"What is {terms} in {task}?\nA. {size}\nB. {size * 3}\nAnswer:"
        weak = chance.random() < 0.95 - 0.07 * size
        rows.append((task, prompt, weak, weak or chance.random() < 0.6))
    return rows


def requests() -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """Return 200 requests to learn from and 50 to judge by, of four domains."""
    chance = Random(11)
    rows = []
    for _ in range(250):
        domain = chance.choice(sorted(_TOPICS))
        text = chance.choice(_TOPICS[domain]).format(n=chance.randint(2, 9))
        rows.append((text, domain))
    return tuple(rows[:200]), tuple(rows[200:])
