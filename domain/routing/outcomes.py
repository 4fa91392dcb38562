"""How well tiers did: outcomes against what was predicted, per class of task and tier.

A class leans on all classes together, and all of them on the prediction (hierarchical, strength
8), so that a handful of outcomes moves little. Knows no models and no prices.
"""

import math
from collections.abc import Iterable
from functools import cached_property, reduce

from pydantic import BaseModel, ConfigDict, Field

from domain.tiers import ModelTier

STRENGTH = 8.0
"""Outcomes that the broader estimate counts for (kappa)."""
OUTCOMES_PER_CLASS = 100
"""A class of its own needs that many labelled outcomes behind it; the rest are one class."""
HALF_LIFE_RUNS = 500
_KEEP = 0.5 ** (1 / HALF_LIFE_RUNS)
MOST_CLASSES = 100


class Tally(BaseModel):
    """Outcomes of one tier in one class: decayed sums."""

    model_config = ConfigDict(frozen=True)

    runs: float = 0.0
    quality: float = 0.0
    """Sum of qualities, each in 0..1."""
    predicted: float = 0.0
    """Sum of what was predicted for them."""

    def after(self, quality: float, predicted: float) -> "Tally":
        """Return the tally with one outcome more and the earlier ones a little faded."""
        return Tally(
            runs=self.runs * _KEEP + 1,
            quality=self.quality * _KEEP + quality,
            predicted=self.predicted * _KEEP + predicted,
        )

    def plus(self, other: "Tally") -> "Tally":
        """Return both together."""
        return Tally(
            runs=self.runs + other.runs,
            quality=self.quality + other.quality,
            predicted=self.predicted + other.predicted,
        )

    def surprise(self, broader: float) -> float:
        """Return by how much outcomes differ from their prediction, shrunk to `broader`."""
        missed = self.quality - self.predicted
        return (missed + STRENGTH * broader) / (self.runs + STRENGTH)


class Estimate(BaseModel):
    """A quality that is expected: a Beta distribution by its mean and strength."""

    model_config = ConfigDict(frozen=True)

    mean: float
    strength: float

    @property
    def variance(self) -> float:
        """How unsure the mean is."""
        return self.mean * (1 - self.mean) / (self.strength + 1)


class Outcomes(BaseModel):
    """Every tally, by class and tier."""

    model_config = ConfigDict(frozen=True)

    tallies: dict[str, dict[ModelTier, Tally]] = Field(default_factory=dict)
    labelled: int = 0

    def after(
        self, task_class: str, tier: ModelTier, quality: float, predicted: float
    ) -> "Outcomes":
        """Return what is known after one labelled outcome."""
        mine = dict(self.tallies.get(task_class, {}))
        mine[tier] = mine.get(tier, Tally()).after(min(1.0, max(0.0, quality)), predicted)
        others = {name: each for name, each in self.tallies.items() if name != task_class}
        kept = dict([*others.items()][-MOST_CLASSES + 1 :])
        return Outcomes(tallies={**kept, task_class: mine}, labelled=self.labelled + 1)

    def estimate(self, task_class: str, tier: ModelTier, predicted: float) -> Estimate:
        """Return the quality to expect of a tier, given what was predicted for the request."""
        whole = self.everything.get(tier, Tally())
        mine = self.tallies.get(task_class, {}).get(tier, Tally())
        surprise = whole.surprise(0.0)
        if task_class in self.own_classes:
            surprise, runs = mine.surprise(surprise), mine.runs
        else:
            runs = min(whole.runs, STRENGTH)
        mean = min(0.99, max(0.01, predicted + surprise))
        return Estimate(mean=mean, strength=STRENGTH + runs)

    @cached_property
    def own_classes(self) -> frozenset[str]:
        """The classes that have outcomes enough to stand alone: the largest ones."""
        room = self.labelled // OUTCOMES_PER_CLASS
        largest = sorted(
            self.tallies, key=lambda name: -_together(self.tallies[name].values()).runs
        )
        return frozenset(largest[:room])

    @cached_property
    def everything(self) -> dict[ModelTier, Tally]:
        """All classes together, by tier."""
        return {
            tier: _together(mine[tier] for mine in self.tallies.values() if tier in mine)
            for tier in ModelTier
        }


def better(one: Estimate, other: Estimate, least: float = 0.0) -> float:
    """Return how likely `one` is better than `other` by more than `least` (normal law)."""
    spread = math.sqrt(one.variance + other.variance)
    return 0.5 * (1 + math.erf((one.mean - other.mean - least) / (spread * math.sqrt(2))))


def _together(tallies: Iterable[Tally]) -> Tally:
    return reduce(Tally.plus, tallies, Tally())
