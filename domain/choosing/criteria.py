"""The six criteria of one request, each in 0..1 for each agent. Decides nothing.

Source: seed E, with the formulas of `docs/explanation/routing.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain.choosing.asking import Ask, Candidate
from domain.choosing.contexts import Contexts
from domain.choosing.performance import Performance
from domain.choosing.preferences import Preferences
from domain.choosing.specialty import Specialty
from domain.choosing.weights import CRITERIA, Weights
from domain.choosing.words import read

COST_WEIGHT = 0.15
"""What the cost of a run at the reference counts against its quality."""
_RECENT = 3
_RESEMBLES, _STAYS, HOLDS = 0.5, 0.3, 0.2
"""Parts of context relevance: like earlier good talks, same agent as before, tools at hand."""

Scores = dict[str, dict[str, float]]
"""By agent, then by criterion."""


@dataclass(frozen=True, slots=True)
class Known:
    """What was learned so far; a new product knows nothing."""

    performance: Performance = field(default_factory=Performance)
    preferences: Preferences = field(default_factory=Preferences)
    contexts: Contexts = field(default_factory=Contexts)
    weights: Weights = field(default_factory=Weights)


def exclusion(ask: Ask, candidate: Candidate) -> str | None:
    """Say why an agent cannot do the request at all; None: it can."""
    missing = sorted(ask.tools - candidate.tools) + sorted(ask.attachments - candidate.attachments)
    flaws = (
        (not candidate.is_healthy, "it is not healthy"),
        (not candidate.is_reachable, "no provider of its models is configured"),
        (candidate.is_open, "its circuit is open"),
        (candidate.is_quarantined, "it is quarantined"),
        (not candidate.can_pay, "its budget does not cover the run"),
        (ask.brings_tools and not candidate.takes_tools, "it takes no client_tools"),
        (bool(missing), f"it does not take {', '.join(missing)}"),
    )
    return next((why for applies, why in flaws if applies), None)


def scores_of(
    ask: Ask, candidates: Sequence[Candidate], specialty: Specialty, known: Known
) -> Scores:
    """Return every criterion of every candidate. `specialty` knows at least these agents."""
    agent_ids = tuple(candidate.agent_id for candidate in candidates)
    fits = specialty.scores(read(ask.text))
    likeness = _likeness(ask, agent_ids, known.contexts)
    return {
        candidate.agent_id: dict(
            zip(
                CRITERIA,
                (
                    fits[candidate.agent_id],
                    _context(ask, candidate, likeness[candidate.agent_id]),
                    known.performance.quality(candidate.agent_id, ask.task_class),
                    _availability(candidate),
                    _efficiency(ask, candidate, known.performance),
                    _liking(ask, candidate, known),
                ),
                strict=True,
            )
        )
        for candidate in candidates
    }


def _likeness(ask: Ask, agent_ids: tuple[str, ...], contexts: Contexts) -> dict[str, float]:
    recent = ask.recent[-_RECENT:]
    if not recent or not contexts.agents:
        return dict.fromkeys(agent_ids, 0.0)
    return contexts.likeness(recent, agent_ids)


def _context(ask: Ask, candidate: Candidate, likeness: float) -> float:
    stays = ask.last_agent == candidate.agent_id and not ask.last_disliked
    held = len(ask.tools & candidate.tools) / len(ask.tools) if ask.tools else 1.0
    return _RESEMBLES * likeness + _STAYS * stays + HOLDS * held


def _availability(candidate: Candidate) -> float:
    free = (1 - candidate.load) * (1 - min(1.0, candidate.budget_used))
    return 0.0 if candidate.is_probing else free


def _efficiency(ask: Ask, candidate: Candidate, performance: Performance) -> float:
    quality = performance.quality(candidate.agent_id, ask.task_class)
    reference = performance.reference
    cost = performance.cost(candidate.agent_id, ask.task_class)
    burden = COST_WEIGHT * cost / reference if reference else 0.0
    return quality / (quality + burden) if quality + burden else 0.0


def _liking(ask: Ask, candidate: Candidate, known: Known) -> float:
    mean = known.performance.mean_of(candidate.agent_id)
    return known.preferences.preference(ask.user, candidate.agent_id, mean)
