"""What requests taught about agents: an online naive Bayes over marks, one agent against the rest.

Grows by one label at a time; each agent forgets what it saw once when it is full, and is JSON on
disk. Knows nothing of cards but that their words count as seen.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from domain.choosing.cards import Card
from domain.choosing.words import content_words, mark_of

MOST_COUNTS = 6000
"""Marks of one agent that are kept; beyond it all counts are halved and the rare ones go."""
CARD_COUNT = 10.0
"""A word of an agent's card counts as if that many requests for the agent had held it."""
_SMOOTHING = 0.1
_MOST_ROWS = 10_000
"""Marks whose odds are kept worked out between labels."""
_SOFTNESS = 0.5
"""Marks of one text depend on each other: their evidence counts half."""


class AgentWords(BaseModel):
    """What labels taught of one agent: how many there were, and its marks, in hexadecimal."""

    model_config = ConfigDict(frozen=True)

    labels: int = 0
    counts: dict[str, float] = Field(default_factory=dict)

    def after(self, found: Iterable[int]) -> "AgentWords":
        """Return what is known after one more request that was the agent's."""
        counts = dict(self.counts)
        for mark in found:
            name = f"{mark:x}"
            counts[name] = counts.get(name, 0.0) + 1
        if len(counts) > MOST_COUNTS:
            counts = {name: count / 2 for name, count in counts.items() if count > 1}
        return AgentWords(labels=self.labels + 1, counts=counts)


Learned = Mapping[str, AgentWords]
"""By agent."""


class Bayes:
    """The counts as they are asked: per mark the agents that hold it.

    `learn` changes it in place; `words` is what is stored.
    """

    def __init__(self, cards: Sequence[Card], learned: Learned) -> None:
        self._cards = {
            card.agent_id: Counter(map(mark_of, content_words(card.text))) for card in cards
        }
        self.words = {
            agent_id: words for agent_id, words in learned.items() if agent_id in self._cards
        }
        self._fill()

    @property
    def labels(self) -> int:
        """How many labelled requests stand behind the counts."""
        return sum(words.labels for words in self.words.values())

    def learn(self, agent_id: str, found: Sequence[int]) -> None:
        """Take one labelled request in by its marks: `agent_id` was right for it."""
        before = self.words.get(agent_id, AgentWords())
        self.words[agent_id] = after = before.after(found)
        if len(after.counts) < len(before.counts):
            self._fill()
        else:
            self._rows.clear()
            for mark in found:
                self._add(mark, agent_id, 1.0)

    def shares(self, found: Iterable[int]) -> dict[str, float]:
        """Return how likely each agent with a card is for these marks; the shares add up to 1."""
        rows = [self._row(mark) for mark in found if mark in self._holders]
        scores = map(sum, zip(*rows, strict=True)) if rows else [0.0] * len(self._cards)
        return dict(zip(self._cards, _softmax(list(scores)), strict=True))

    def _fill(self) -> None:
        self._holders: dict[int, dict[str, float]] = {}
        self._sizes: dict[str, float] = dict.fromkeys(self._cards, 0.0)
        self._rows: dict[int, tuple[float, ...]] = {}
        for agent_id, counted in self._cards.items():
            for mark, times in counted.items():
                self._add(mark, agent_id, times * CARD_COUNT)
        for agent_id, words in self.words.items():
            for name, count in words.counts.items():
                self._add(int(name, 16), agent_id, count)

    def _add(self, mark: int, agent_id: str, count: float) -> None:
        holders = self._holders.setdefault(mark, {})
        holders[agent_id] = holders.get(agent_id, 0.0) + count
        self._sizes[agent_id] += count

    def _row(self, mark: int) -> tuple[float, ...]:
        """Return the log odds that a mark adds for each agent."""
        row = self._rows.get(mark)
        if row is None:
            if len(self._rows) >= _MOST_ROWS:
                self._rows.clear()
            row = self._rows[mark] = tuple(self._weigh(self._holders[mark]))
        return row

    def _weigh(self, holders: Mapping[str, float]) -> Iterator[float]:
        room = _SMOOTHING * len(self._holders)
        everything = sum(self._sizes.values()) + room
        everybody = sum(holders.values()) + _SMOOTHING
        for agent_id, size in self._sizes.items():
            count = holders.get(agent_id, 0.0)
            here = (count + _SMOOTHING) / (size + room)
            yield math.log(here * (everything - size) / (everybody - count))


def _softmax(scores: Sequence[float]) -> list[float]:
    best = max(scores, default=0.0)
    grown = [math.exp(_SOFTNESS * (score - best)) for score in scores]
    whole = sum(grown)
    return [value / whole for value in grown]
