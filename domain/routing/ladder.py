"""The ladder of tiers, from small to strong, with the models that stand on each rung.

Which models a tier holds is the operator's word; names of tiers are in `domain/tiers.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.tiers import ModelTier

LADDER: tuple[ModelTier, ...] = tuple(ModelTier)
"""From small to strong."""
CHOSEN: tuple[ModelTier, ...] = (ModelTier.SIMPLE, ModelTier.MEDIUM, ModelTier.COMPLEX)
"""What `auto` chooses among. No figure says when critical pays: it is asked for by name, or
reached by failure."""


def rank(tier: ModelTier) -> int:
    """Return a tier's place on the ladder, from 0."""
    return LADDER.index(tier)


def higher(one: ModelTier, other: ModelTier | None) -> ModelTier:
    """Return the stronger of two; None is none."""
    return one if other is None or rank(one) >= rank(other) else other


@dataclass(frozen=True, slots=True)
class Climb:
    """Models in the order they are tried, and the places where a higher tier begins."""

    models: tuple[str, ...]
    rungs: tuple[int, ...] = ()
    tiers: tuple[ModelTier, ...] = ()
    """The tier of the first models, and the one that begins at each rung."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The models of each tier, in the order they are tried; a tier without any has the usual."""

    chains: Mapping[ModelTier, tuple[str, ...]] = field(default_factory=dict)
    usual: tuple[str, ...] = ()

    def served(self) -> tuple[ModelTier, ...]:
        """Return the tiers that have models of their own."""
        return tuple(tier for tier in LADDER if self.chains.get(tier))

    def chain(self, tier: ModelTier) -> tuple[str, ...]:
        """Return the models of a tier."""
        return self.chains.get(tier) or self.usual

    def above(self, tier: ModelTier) -> ModelTier | None:
        """Return the next stronger tier that has other models, None at the top."""
        mine = self.chain(tier)
        stronger = (each for each in self.served() if rank(each) > rank(tier))
        return next((each for each in stronger if self.chains[each] != mine), None)

    def climb(self, tier: ModelTier) -> Climb:
        """Return the models of a tier and of every one above it, each model once."""
        models: dict[str, None] = dict.fromkeys(self.chain(tier))
        rungs, tiers = list[int](), [tier]
        above = self.above(tier)
        while above is not None:
            fresh = [model for model in self.chains[above] if model not in models]
            if fresh:
                rungs.append(len(models))
                tiers.append(above)
            models.update(dict.fromkeys(fresh))
            above = self.above(above)
        return Climb(tuple(models), tuple(rungs), tuple(tiers))
