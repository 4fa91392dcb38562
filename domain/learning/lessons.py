"""What a run taught: signals become a quality, and a quality becomes what is remembered.

No signal is no success: silence teaches next to nothing. Source: `docs/explanation/routing.md`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.choosing.criteria import COST_WEIGHT
from domain.run import RunState
from domain.tiers import ModelTier

RATED = 0.9
"""How well a person's rating says what a run was worth."""
ENDED = 0.1
"""The same of a run that merely ended, well or not."""
LABEL = 0.3
"""What is known less well than this is no label."""
GOOD = 0.7
"""Quality from which an agent was right for a request."""
_NOT_ITS_FAULT = frozenset(
    {
        *("budget_exhausted", "price_unknown", "deadline_exceeded", "circuit_open"),
        *("engine_state_lost", "engine_mismatch", "internal_error", "queue_full"),
    }
)
"""Failures that say nothing of the agent."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is on record of a run that can teach something."""

    run_id: str
    owner: str
    agent_id: str | None
    request: str
    state: RunState
    error_code: str | None = None
    cost_usd: float | None = None
    """None while a call of it is unpriced."""
    task_class: str | None = None
    """None where nothing was chosen for it."""
    tier: ModelTier | None = None
    """The tier whose answer it was: not one whose answer was put aside, or that failed."""
    predicted: float | None = None
    """The quality that was expected of the tier."""
    criteria: Mapping[str, float] = field(default_factory=dict)
    """Those of the agent that was chosen."""
    broken: tuple[tuple[ModelTier, float], ...] = ()
    """Tiers with an answer of which nothing was left (empty, cut), and what was expected."""
    passed: bool | None = None
    """Whether the look found no flaw in the answer that counted; None where nobody looked at it."""
    is_rated: bool = False
    """The same person rated it before."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One run with what it was worth. `rating` is -1..1, by `user`, where a person said so."""

    facts: RunFacts
    quality: float
    weight: float
    rating: float | None = None
    user: str = ""

    @property
    def is_label(self) -> bool:
        """Whether it is known well enough to learn who is right for what."""
        return self.weight >= LABEL

    @property
    def is_good(self) -> bool:
        """Whether the agent was right for the request."""
        return self.is_label and self.quality >= GOOD


def of_rating(facts: RunFacts, rating: float, user: str) -> Lesson:
    """Return what a rating of -1..1 teaches."""
    return Lesson(facts, (rating + 1) / 2, RATED, rating, user)


def of_end(facts: RunFacts) -> Lesson | None:
    """Return what the end of a run teaches; None: nothing."""
    if facts.state is RunState.DONE:
        return Lesson(facts, 1.0, ENDED)
    if facts.state is RunState.FAILED and facts.error_code not in _NOT_ITS_FAULT:
        return Lesson(facts, 0.0, ENDED)
    return None


def utility(quality: float, cost: float | None, reference: float) -> float:
    """Return a quality less what it cost, in 0..1. Without a price or a reference cost is 0."""
    burden = min(1.0, (cost or 0.0) / reference) if reference else 0.0
    return (quality - COST_WEIGHT * burden + COST_WEIGHT) / (1 + COST_WEIGHT)
