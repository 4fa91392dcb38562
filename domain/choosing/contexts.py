"""The talks in which agents did well lately, as counts of marks: none of their words is kept."""

from collections import Counter

from pydantic import BaseModel, ConfigDict, Field

from domain.choosing.cards import bm25, shares, total
from domain.choosing.words import content_words, mark_of

KEPT = 5
"""Contexts of one agent."""
_MOST_MARKS = 200
"""Marks of one context."""


class Contexts(BaseModel):
    """Per agent its last good contexts, the newest last; marks are in hexadecimal."""

    model_config = ConfigDict(frozen=True)

    agents: dict[str, tuple[dict[str, int], ...]] = Field(default_factory=dict)

    def after(self, agent_id: str, messages: tuple[str, ...]) -> "Contexts":
        """Return what is known after one more talk that went well."""
        counted = Counter(_marks(messages)).most_common(_MOST_MARKS)
        kept = (*self.agents.get(agent_id, ()), dict(counted))[-KEPT:]
        return Contexts(agents={**self.agents, agent_id: kept})

    def likeness(self, messages: tuple[str, ...], agent_ids: tuple[str, ...]) -> dict[str, float]:
        """Return per agent how these messages resemble its contexts, as shares of the best."""
        texts = {agent_id: self._of(agent_id) for agent_id in agent_ids}
        return shares(total(bm25(texts), set(_marks(messages)), agent_ids))

    def _of(self, agent_id: str) -> Counter[str]:
        return sum((Counter(each) for each in self.agents.get(agent_id, ())), Counter[str]())


def _marks(messages: tuple[str, ...]) -> list[str]:
    return [f"{mark_of(word):x}" for message in messages for word in content_words(message)]
