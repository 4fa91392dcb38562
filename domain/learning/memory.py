"""All that was learned for one owner, as values that are stored by name.

Each part is stored apart, so that a lesson writes only what it changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from domain.choosing.bayes import AgentWords
from domain.choosing.criteria import Known
from domain.choosing.weights import CRITERIA
from domain.choosing.words import read
from domain.learning.lessons import Lesson, utility
from domain.routing.grading import Verifier
from domain.routing.outcomes import Outcomes

Part = TypeVar("Part", bound=BaseModel)

_WORDS = "words:"
"""Before the id of an agent: what labels taught of it."""
_PERFORMANCE, _PREFERENCES, _CONTEXTS = "performance", "preferences", "contexts"
_WEIGHTS, _TIERS, _VERIFIER = "weights", "tiers", "verifier"


@dataclass(frozen=True, slots=True)
class Memory:
    """What was learned; a new owner knows nothing."""

    words: Mapping[str, AgentWords] = field(default_factory=dict)
    known: Known = field(default_factory=Known)
    tiers: Outcomes = field(default_factory=Outcomes)
    verifier: Verifier = field(default_factory=Verifier)

    def parts(self) -> dict[str, BaseModel]:
        """Return everything by the name that it is stored under."""
        known = self.known
        return {
            **{f"{_WORDS}{agent_id}": words for agent_id, words in self.words.items()},
            _PERFORMANCE: known.performance,
            _PREFERENCES: known.preferences,
            _CONTEXTS: known.contexts,
            _WEIGHTS: known.weights,
            _TIERS: self.tiers,
            _VERIFIER: self.verifier,
        }

    def changed(self, since: "Memory") -> dict[str, str]:
        """Return as JSON the parts that are others than in `since`."""
        before = since.parts()
        return {
            name: part.model_dump_json()
            for name, part in self.parts().items()
            if part is not before.get(name) and part != before.get(name)
        }

    def with_parts(self, stored: Mapping[str, str]) -> "Memory":
        """Return this memory with parts from their JSON; one that cannot be read is forgotten."""
        words = {
            name.removeprefix(_WORDS): _read(AgentWords, text)
            for name, text in stored.items()
            if name.startswith(_WORDS)
        }
        known = self.known
        return Memory(
            words={**self.words, **words} if words else self.words,
            known=Known(
                performance=_or(known.performance, stored.get(_PERFORMANCE)),
                preferences=_or(known.preferences, stored.get(_PREFERENCES)),
                contexts=_or(known.contexts, stored.get(_CONTEXTS)),
                weights=_or(known.weights, stored.get(_WEIGHTS)),
            ),
            tiers=_or(self.tiers, stored.get(_TIERS)),
            verifier=_or(self.verifier, stored.get(_VERIFIER)),
        )

    def after(self, lesson: Lesson) -> "Memory":
        """Return what is known after one lesson."""
        facts = lesson.facts
        if facts.agent_id is None:
            return self
        return replace(
            self,
            words=self._words_after(facts.agent_id, lesson),
            known=self._known_after(facts.agent_id, lesson),
            tiers=self._tiers_after(lesson),
            verifier=self._verifier_after(lesson),
        )

    def _words_after(self, agent_id: str, lesson: Lesson) -> Mapping[str, AgentWords]:
        if not lesson.is_good:
            return self.words
        mine = self.words.get(agent_id, AgentWords())
        return {**self.words, agent_id: mine.after(read(lesson.facts.request).marks)}

    def _known_after(self, agent_id: str, lesson: Lesson) -> Known:
        known, facts = self.known, lesson.facts
        worth = utility(lesson.quality, facts.cost_usd, known.performance.reference)
        performance = known.performance.after(
            agent_id, facts.task_class or "", worth, facts.cost_usd, lesson.weight
        )
        known = replace(known, performance=performance)
        if lesson.rating is not None:
            liked = known.preferences.after(lesson.user, agent_id, lesson.rating)
            known = replace(known, preferences=liked)
        if lesson.is_good:
            known = replace(known, contexts=known.contexts.after(agent_id, (facts.request,)))
        if lesson.is_label and facts.criteria.keys() >= set(CRITERIA):
            known = replace(known, weights=known.weights.after(facts.criteria, worth))
        return known

    def _tiers_after(self, lesson: Lesson) -> Outcomes:
        facts = lesson.facts
        if not lesson.is_label:
            return self.tiers
        tiers, task_class = self.tiers, facts.task_class or ""
        # What was rated is another tier's work; a broken answer needs no rating.
        for tier, predicted in facts.broken:
            tiers = tiers.after(task_class, tier, 0.0, predicted)
        if facts.tier is None or facts.predicted is None:
            return tiers
        return tiers.after(task_class, facts.tier, lesson.quality, facts.predicted)

    def _verifier_after(self, lesson: Lesson) -> Verifier:
        facts = lesson.facts
        if facts.task_class is None or facts.passed is None or not lesson.is_label:
            return self.verifier
        return self.verifier.after(facts.task_class, is_good=lesson.is_good, passed=facts.passed)


def _or(part: Part, text: str | None) -> Part:
    return part if text is None else _read(type(part), text)


def _read(kind: type[Part], text: str) -> Part:
    try:
        return kind.model_validate_json(text)
    except ValidationError:
        return kind()
