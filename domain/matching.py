"""Which agent fits a request: BM25 over the agents' descriptions. Learns nothing and asks nobody.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009).
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_K1 = 1.2
_B = 0.75
_SHOWN = 10
"""Scores that are put on record; the rest says nothing more about the choice."""
_WORD = re.compile(r"[^\W_]+")
_SUM = re.compile(r"\d\s*[+*/\u00d7\u00f7^]\s*\(?\d|\d\s+[-\u2212x]\s+\d|\d\s*%")
"""Arithmetic in signs, which are no words."""
_SUM_WORD = "calculate"
_STOP = frozenset(
    _WORD.findall(
        "a about an and are as at be by can do for from have help how i in is it me my of on or our"
        " please that the this to us was we what when which who will with you your"
    )
)


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of one agent: its id and every word that says what it is for."""

    agent_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The agent that was chosen, why, and the best scores."""

    agent_id: str
    reason: str
    scores: dict[str, float]

    def as_route(self) -> dict[str, object]:
        """Return the data of `route_decided`."""
        return {"agent_id": self.agent_id, "reason": self.reason, "scores": self.scores}


def words(text: str) -> list[str]:
    """Split a text into lower-case words without stop words, plural `s` dropped.

    Signs of arithmetic between numbers count as the word `calculate`.
    """
    found = (word for word in _WORD.findall(text.lower()) if word not in _STOP)
    spelled = [word[:-1] if _is_plural(word) else word for word in found]
    return [*spelled, _SUM_WORD] if _SUM.search(text) else spelled


def _is_plural(word: str) -> bool:
    return len(word) > 3 and word.endswith("s") and not word.endswith("ss")


def score(request: str, cards: Sequence[Card]) -> dict[str, float]:
    """Return the BM25 score of every card, 0.0 for one that shares no word with the request."""
    texts = [Counter(words(card.text)) for card in cards]
    sizes = [sum(text.values()) for text in texts]
    mean = (sum(sizes) / len(sizes) if sizes else 0) or 1.0
    scores = {card.agent_id: 0.0 for card in cards}
    for word in set(words(request)):
        holders = sum(1 for text in texts if word in text)
        if not holders:
            continue
        rarity = math.log(1 + (len(cards) - holders + 0.5) / (holders + 0.5))
        for card, text, size in zip(cards, texts, sizes, strict=True):
            count = text[word]
            weight = count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * size / mean))
            scores[card.agent_id] += rarity * weight
    return scores


def choose(request: str, cards: Sequence[Card], default: str | None = None) -> Choice | None:
    """Return the best match, or None when there is no agent at all.

    Ties go to the card that comes first. When no card shares a word with the request, the agent
    `default` is chosen if it is among them, else the first.
    """
    if not cards:
        return None
    scores = score(request, cards)
    best = max(cards, key=lambda card: scores[card.agent_id]).agent_id
    top = sorted(scores.items(), key=lambda item: -item[1])[:_SHOWN]
    shown = {agent_id: round(value, 4) for agent_id, value in top}
    if len(cards) == 1:
        return Choice(best, f"{best} is the only agent", shown)
    if scores[best] > 0:
        return Choice(best, f"the description of {best} matches the request best", shown)
    fallback = default if default in scores else cards[0].agent_id
    return Choice(fallback, f"no description matches the request; {fallback} is next", shown)
