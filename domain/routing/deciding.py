"""The decision for a tier: what it should bring less what it costs, and how sure that is.

`E[quality | tier, class] - weight * E[cost]`, started from the tier that the complexity of the
request suggests, which is left only when another is very likely better. Chance comes in as a
number; within a session the tier only goes up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.routing.complexity import Complexity
from domain.routing.ladder import CHOSEN, LADDER, higher, rank
from domain.routing.outcomes import Estimate, Outcomes, better
from domain.tiers import ModelTier

COST_WEIGHT = 0.15
"""What a call at the cost reference counts against its quality (lambda_c)."""
SURE = 0.9
"""How likely another tier must be better before the default is left."""
EXPLORED = 0.05
"""Share of decisions that try the next stronger tier, to learn of it; never above 0.10."""
SESSION_IDLE_MS = 24 * 3_600_000
"""A session that was silent for so long starts from the bottom again."""


@dataclass(frozen=True, slots=True)
class TierAsk:
    """What a tier is decided for."""

    complexity: Complexity
    task_class: str = ""
    costs: Mapping[ModelTier, float] = field(default_factory=dict)
    """What a call costs, as a share of the cost reference (1 = the reference)."""
    served: tuple[ModelTier, ...] = LADDER
    """Tiers that have models."""
    floor: ModelTier | None = None
    """The tier that the session has reached."""
    default: ModelTier | None = None
    """Where to start; None leaves it to the complexity."""
    may_explore: bool = True


@dataclass(frozen=True, slots=True)
class TierDecision:
    """The tier, why, and all that it was weighed by."""

    tier: ModelTier
    reason: str
    scores: dict[str, float]
    """Per tier quality less weighted cost."""
    qualities: dict[str, float]
    complexity: Complexity
    task_class: str = ""
    explored: bool = False
    propensity: float = 1.0

    def as_route(self) -> dict[str, object]:
        """Return the data of `route_decided`."""
        return {
            "kind": "tier",
            "tier": str(self.tier),
            "reason": self.reason,
            "scores": _rounded(self.scores),
            "qualities": _rounded(self.qualities),
            "complexity": round(self.complexity.score, 4),
            "parts": _rounded(self.complexity.parts),
            "task_class": self.task_class,
            "explored": self.explored,
            "propensity": round(self.propensity, 4),
        }


def decide(ask: TierAsk, known: Outcomes, luck: float = 1.0) -> TierDecision:
    """Return the tier for a request. `luck` is an even draw from 0..1; its low end tries more."""
    choices = tuple(tier for tier in CHOSEN if tier in ask.served) or ask.served or CHOSEN
    estimates = {
        tier: known.estimate(ask.task_class, tier, ask.complexity.quality(tier)) for tier in choices
    }
    scores = {tier: _score(ask, tier, estimate) for tier, estimate in estimates.items()}
    start = _near(ask.default or ask.complexity.tier, choices)
    best = max(choices, key=lambda tier: scores[tier])
    tier, reason = _weighed(ask, start, best, estimates)
    held = above_floor(tier, ask.floor, ask.served)
    if held is not tier:
        reason = f"the session has reached {ask.floor}"
    tried = _above(held, choices)
    explored = ask.may_explore and tried is not None and luck < EXPLORED
    return TierDecision(
        tier=tried if explored and tried else held,
        reason=f"{tried} is tried out; {held} came first" if explored else reason,
        scores={str(each): score for each, score in scores.items()},
        qualities={str(each): estimate.mean for each, estimate in estimates.items()},
        complexity=ask.complexity,
        task_class=ask.task_class,
        explored=explored,
        propensity=_propensity(explored, can_explore=ask.may_explore and tried is not None),
    )


def session_floor(reached: ModelTier | None, idle_ms: int) -> ModelTier | None:
    """Return the tier below which a session does not go; a day of silence lets it start anew."""
    return None if idle_ms >= SESSION_IDLE_MS else reached


def above_floor(
    tier: ModelTier, floor: ModelTier | None, served: tuple[ModelTier, ...]
) -> ModelTier:
    """Return a tier, or the one to take in its place in a session that has reached `floor`.

    A floor that has no models is the next one above it that has some, else the highest there is.
    """
    if floor is None or rank(tier) >= rank(floor):
        return tier
    return higher(tier, _near(floor, served or (floor,)))


def _score(ask: TierAsk, tier: ModelTier, estimate: Estimate) -> float:
    return estimate.mean - COST_WEIGHT * ask.costs.get(tier, 0.0)


def _weighed(
    ask: TierAsk, start: ModelTier, best: ModelTier, estimates: Mapping[ModelTier, Estimate]
) -> tuple[ModelTier, str]:
    """Return the default tier, or the best one where it is surely better."""
    named = "the default" if ask.default else f"right for this {ask.complexity.level} complexity"
    if best is start:
        return start, f"{start} is {named}"
    dearer = COST_WEIGHT * (ask.costs.get(best, 0.0) - ask.costs.get(start, 0.0))
    sure = better(estimates[best], estimates[start], dearer)
    if sure > SURE:
        return best, f"{best} is better than {start} with probability {sure:.2f}"
    return start, f"{start} is {named}; {best} is not surely better ({sure:.2f})"


def _near(wanted: ModelTier, choices: tuple[ModelTier, ...]) -> ModelTier:
    """Return the tier that is wanted, else the next stronger one, else the strongest there is."""
    return next((tier for tier in choices if rank(tier) >= rank(wanted)), choices[-1])


def _above(tier: ModelTier, choices: tuple[ModelTier, ...]) -> ModelTier | None:
    return next((each for each in choices if rank(each) > rank(tier)), None)


def _propensity(explored: bool, *, can_explore: bool) -> float:
    if not can_explore:
        return 1.0
    return EXPLORED if explored else 1 - EXPLORED


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
