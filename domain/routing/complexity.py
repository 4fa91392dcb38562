"""How hard a request is for a small model and how much a strong one would help, in under 1 ms.

A cheap prior, fitted offline on recorded outcomes of exam questions; what is no such question is
judged mostly by words (`everyday.py`). It asks no model and knows no history of ours.
"""

import math
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from domain.routing.everyday import Prior, is_recorded_kind, prior_of, uses_tools
from domain.routing.fitted import Head, Heads, heads
from domain.routing.reading import (
    Reading,
    constraints_of,
    features,
    has_code,
    has_table,
    steps_of,
    take_apart,
)
from domain.routing.trees import walk
from domain.tiers import ModelTier

SHOWN = 8
"""Parts that an event shows."""


class Level(StrEnum):
    """Complexity, coarsely."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


_TIERS = {
    Level.LOW: ModelTier.SIMPLE,
    Level.MEDIUM: ModelTier.MEDIUM,
    Level.HIGH: ModelTier.COMPLEX,
}


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around a request and makes it harder; no recorded outcome says by how much."""

    tools: int = 0
    """Tools that the agent may call; they count where the request hints at using some."""
    messages: int = 0
    """Messages of the session so far."""


NOTHING = Around()


@dataclass(frozen=True, slots=True)
class Complexity:
    """The estimate for one request."""

    score: float
    """0..1: the share of recorded requests for which a strong model would help less; of another
    kind of request, where it is thought to stand among them."""
    level: Level
    weak: float
    """How likely a small model's answer is right."""
    strong: float
    """How likely a strong model's answer is right."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """What the features added to the gap between the two, or signs to the score of a request that
    is no exam question; the largest first."""

    @property
    def tier(self) -> ModelTier:
        """The tier to start from."""
        return _TIERS[self.level]

    def quality(self, tier: ModelTier) -> float:
        """Return how likely an answer of a tier is right."""
        if tier is ModelTier.SIMPLE:
            return self.weak
        return (self.weak + self.strong) / 2 if tier is ModelTier.MEDIUM else self.strong


LOW_BELOW, MEDIUM_BELOW = 0.5, 0.8
"""Where a score becomes medium, and high: half of recorded requests are of low complexity."""
_EXTRA = {"code": 0.02, "table": 0.01, "step": 0.005, "constraint": 0.005, "tool": 0.004}
"""What each adds to the gap. Set by hand: the recorded requests have none of them."""
_HISTORY = 0.01
"""What the history adds to the gap per doubling of its messages. Set by hand."""
_MOST_EXTRA = 0.03
"""No single one of these adds more."""


_EASIEST, _HARDER = 0.97, 0.25
"""How likely a strong model's answer to an everyday request is right, and what hardness takes."""
_HELPS = 0.27
"""How much more often it is right than a small one's, at a score of 1: as on recorded requests."""
_FITTED_SHARE = 0.15
"""What the fitted score counts for a request of another kind than those it was fitted on."""


def complexity_of(request: str, around: Around = NOTHING, model: Heads | None = None) -> Complexity:
    """Return the estimate for a request."""
    model = model or heads()
    seen = take_apart(request)
    fitted = fitted_complexity(seen, around, model)
    if is_recorded_kind(seen):
        return fitted
    return _blended(prior_of(seen, around.tools, around.messages), fitted.score)


def fitted_complexity(seen: Reading, around: Around, model: Heads) -> Complexity:
    """Return what the fitted model says, whatever kind of request it is."""
    row = list(features(seen).values())
    weak, by_weak = _answer(model.weak, row)
    strong, by_strong = _answer(model.strong, row)
    slopes = strong * (1 - strong), weak * (1 - weak)
    parts = {
        name: slopes[0] * up - slopes[1] * down
        for name, up, down in zip(model.features, by_strong, by_weak, strict=True)
    }
    extra = _extra(seen, around)
    gap = strong - weak + sum(extra.values())
    score = bisect(model.gaps, gap) / len(model.gaps)
    return Complexity(
        score=score,
        level=_level(score),
        weak=max(0.01, weak - sum(extra.values())),
        strong=strong,
        parts=_largest({**parts, **extra}),
    )


def _blended(prior: Prior, fitted: float) -> Complexity:
    """Return the estimate for a request that the fitted model has seen nothing like."""
    score = (1 - _FITTED_SHARE) * prior.score + _FITTED_SHARE * fitted
    strong = _EASIEST - _HARDER * score
    return Complexity(
        score=score,
        level=_level(score),
        weak=strong - _HELPS * score,
        strong=strong,
        parts=_largest(dict(prior.parts)),
    )


def _level(score: float) -> Level:
    if score < LOW_BELOW:
        return Level.LOW
    return Level.MEDIUM if score < MEDIUM_BELOW else Level.HIGH


def _answer(head: Head, row: list[float]) -> tuple[float, list[float]]:
    """Return how likely the answer is yes, and what each feature added to its log odds."""
    parts = [0.0] * len(row)
    odds = head.base + sum(walk(tree, row, parts) for tree in head.trees)
    return 1 / (1 + math.exp(-odds)), parts


def _extra(seen: Reading, around: Around) -> dict[str, float]:
    counted = {
        "code": float(has_code(seen)),
        "table": float(has_table(seen)),
        "step": float(steps_of(seen)),
        "constraint": float(constraints_of(seen)),
        "tool": float(around.tools) if around.tools and uses_tools(seen) else 0.0,
    }
    extra = {name: min(_MOST_EXTRA, _EXTRA[name] * count) for name, count in counted.items()}
    return {**extra, "history": min(_MOST_EXTRA, _HISTORY * math.log2(1 + around.messages))}


def _largest(parts: dict[str, float]) -> dict[str, float]:
    ordered = sorted(parts.items(), key=lambda item: -abs(item[1]))
    return {name: value for name, value in ordered[:SHOWN] if abs(value) >= 0.0005}
