"""How well a request fits what agents say of themselves: BM25 over their cards. Learns nothing.

Source: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009).
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from domain.choosing.words import content_words

Word = TypeVar("Word", bound=Hashable)

_K1 = 1.2
_B = 0.75


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of one agent: its id and every word that says what it is for."""

    agent_id: str
    text: str


class CardIndex:
    """The cards, weighed once: a request then costs a look-up per word."""

    def __init__(self, cards: Sequence[Card]) -> None:
        self.agent_ids = tuple(card.agent_id for card in cards)
        self._weights = bm25({card.agent_id: Counter(content_words(card.text)) for card in cards})

    def scores(self, words: Iterable[str]) -> dict[str, float]:
        """Return the BM25 score of every card, 0.0 for one that shares no word."""
        return total(self._weights, set(words), self.agent_ids)


@lru_cache(maxsize=32)
def index_of(cards: tuple[Card, ...]) -> CardIndex:
    """Return the index of these cards; the same cards are weighed once."""
    return CardIndex(cards)


def bm25(
    texts: Mapping[str, Mapping[Word, float]],
) -> dict[Word, dict[str, float]]:
    """Return per word what it adds to the score of each text that holds it."""
    sizes = {name: sum(text.values()) for name, text in texts.items()}
    mean = (sum(sizes.values()) / len(sizes) if sizes else 0) or 1.0
    holders: dict[Word, list[str]] = {}
    for name, text in texts.items():
        for word in text:
            holders.setdefault(word, []).append(name)
    weights: dict[Word, dict[str, float]] = {}
    for word, names in holders.items():
        rarity = math.log(1 + (len(texts) - len(names) + 0.5) / (len(names) + 0.5))
        weights[word] = {
            name: rarity * _saturated(texts[name][word], sizes[name] / mean) for name in names
        }
    return weights


def _saturated(count: float, size: float) -> float:
    return count * (_K1 + 1) / (count + _K1 * (1 - _B + _B * size))


def total(
    weights: Mapping[Word, Mapping[str, float]], words: Iterable[Word], names: Iterable[str]
) -> dict[str, float]:
    """Return the sum of the words' weights for each name."""
    scores = dict.fromkeys(names, 0.0)
    for word in words:
        for name, weight in weights.get(word, {}).items():
            scores[name] += weight
    return scores


def shares(scores: Mapping[str, float]) -> dict[str, float]:
    """Return scores as shares of the best one, all 0.0 where the best is nothing."""
    best = max(scores.values(), default=0.0) or 1.0
    return {name: value / best for name, value in scores.items()}
