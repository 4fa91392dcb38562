"""Which agent a request is about: what agents say of themselves, then what labels taught.

Knows nothing of load, money or people.
"""

from collections.abc import Sequence

from domain.choosing.bayes import AgentWords, Bayes, Learned
from domain.choosing.cards import Card, index_of, shares
from domain.choosing.words import Reading, read

PATIENCE = 300
"""Labels at which what was learned counts as much as the cards."""


class Specialty:
    """The first criterion, ready for these agents: `w * cards + (1 - w) * learned`."""

    def __init__(self, cards: Sequence[Card], learned: Learned | None = None) -> None:
        self.agent_ids = tuple(card.agent_id for card in cards)
        self._index = index_of(tuple(cards))
        self._bayes = Bayes(cards, learned or {})

    def scores(self, request: Reading) -> dict[str, float]:
        """Return per agent how well the request fits it, in 0..1."""
        by_card = shares(self._index.scores(request.words))
        labels = self._bayes.labels
        if not labels:
            return by_card
        trust = PATIENCE / (PATIENCE + labels)
        by_label = self._bayes.shares(request.marks)
        return {
            agent_id: trust * by_card[agent_id] + (1 - trust) * by_label[agent_id]
            for agent_id in self.agent_ids
        }

    def learn(self, agent_id: str, request: str) -> None:
        """Take one labelled request in; the agent is one of these."""
        self._bayes.learn(agent_id, read(request).marks)

    def words(self) -> dict[str, AgentWords]:
        """Return what was learned of each agent, to be stored."""
        return dict(self._bayes.words)
