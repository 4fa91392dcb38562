"""What requests taught about agents: an online naive Bayes over marks, one agent against the rest.

Grows by one label at a time, forgets the rare half when it is full, and is JSON on disk. Knows
nothing of cards but that their words count as seen.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field

from domain.choosing.cards import Card
from domain.choosing.words import content_words, mark_of

MOST_COUNTS = 30_000
"""Counts (of a mark for an agent) that are kept; beyond it all are halved and the rare ones go."""
CARD_COUNT = 10.0
"""A word of an agent's card counts as if that many requests for the agent had held it."""
_SMOOTHING = 0.1
_MOST_ROWS = 10_000
"""Marks whose odds are kept worked out between labels."""
_SOFTNESS = 0.5
"""Marks of one text depend on each other: their evidence counts half."""


class Learned(BaseModel):
    """The counts as they are stored: per agent its labels and its marks, in hexadecimal."""

    model_config = ConfigDict(frozen=True)

    labels: dict[str, float] = Field(default_factory=dict)
    counts: dict[str, dict[str, float]] = Field(default_factory=dict)


class Bayes:
    """The counts as they are asked: per mark the agents that hold it.

    `learn` changes it in place; `state` gives what is stored.
    """

    def __init__(self, cards: Sequence[Card] = (), learned: Learned | None = None) -> None:
        self._cards = {
            card.agent_id: Counter(map(mark_of, content_words(card.text))) for card in cards
        }
        self._fill(learned or Learned())

    def _fill(self, learned: Learned) -> None:
        self._holders: dict[int, dict[str, float]] = {}
        self._sizes: dict[str, float] = {}
        self._labels = dict(learned.labels)
        self._kept = 0
        self._rows: dict[int, tuple[float, ...]] = {}
        for agent_id, counted in self._cards.items():
            for mark, times in counted.items():
                self._add(mark, agent_id, times * CARD_COUNT)
        for agent_id, counts in learned.counts.items():
            for name, count in counts.items():
                self._add(int(name, 16), agent_id, count)

    @property
    def labels(self) -> float:
        """How many labelled requests stand behind the counts."""
        return sum(self._labels.values())

    def learn(self, agent_id: str, found: Iterable[int]) -> None:
        """Take one labelled request in by its marks: `agent_id` was right for it."""
        self._labels[agent_id] = self._labels.get(agent_id, 0.0) + 1
        for mark in found:
            self._add(mark, agent_id, 1.0)
        self._rows.clear()
        if self._kept > MOST_COUNTS:
            self._forget()

    def shares(self, found: Iterable[int]) -> dict[str, float]:
        """Return how likely each agent with a card is for these marks; the shares add up to 1."""
        rows = [self._row(mark) for mark in found if mark in self._holders]
        scores = map(sum, zip(*rows, strict=True)) if rows else [0.0] * len(self._cards)
        return dict(zip(self._cards, _softmax(list(scores)), strict=True))

    def state(self) -> Learned:
        """Return what is stored: the counts without the cards."""
        counts: dict[str, dict[str, float]] = {}
        for mark, holders in self._holders.items():
            for agent_id, count in holders.items():
                kept = count - self._of_card(mark, agent_id)
                if kept > 0:
                    counts.setdefault(agent_id, {})[f"{mark:x}"] = kept
        return Learned(labels=dict(self._labels), counts=counts)

    def _add(self, mark: int, agent_id: str, count: float) -> None:
        holders = self._holders.setdefault(mark, {})
        self._kept += agent_id not in holders
        holders[agent_id] = holders.get(agent_id, 0.0) + count
        self._sizes[agent_id] = self._sizes.get(agent_id, 0.0) + count

    def _of_card(self, mark: int, agent_id: str) -> float:
        return self._cards.get(agent_id, Counter())[mark] * CARD_COUNT

    def _row(self, mark: int) -> tuple[float, ...]:
        """Return the log odds that a mark adds for each agent with a card."""
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
        for agent_id in self._cards:
            count, size = holders.get(agent_id, 0.0), self._sizes.get(agent_id, 0.0)
            here = (count + _SMOOTHING) / (size + room)
            yield math.log(here * (everything - size) / (everybody - count))

    def _forget(self) -> None:
        """Halve what was learned; what was seen once goes."""
        learned = self.state()
        halved = {
            agent_id: {name: count / 2 for name, count in counts.items() if count > 1}
            for agent_id, counts in learned.counts.items()
        }
        self._fill(learned.model_copy(update={"counts": halved}))


def _softmax(scores: Sequence[float]) -> list[float]:
    best = max(scores, default=0.0)
    grown = [math.exp(_SOFTNESS * (score - best)) for score in scores]
    whole = sum(grown)
    return [value / whole for value in grown]
