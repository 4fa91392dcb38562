"""Names that stand for a choice of models: `auto`, and a tier of them (`tier:complex`).

Which models a tier holds is the operator's word. Knows nothing of how a question is judged: that
is behind the port.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from domain.errors import NotFoundError
from domain.routing.grading import Graded, Verifier

AUTO = "auto"
TIER_PREFIX = "tier:"


class ModelTier(StrEnum):
    """A class of models, the cheapest first."""

    SIMPLE = "simple"
    MEDIUM = "medium"
    COMPLEX = "complex"
    CRITICAL = "critical"


TIER_NAMES: Mapping[str, ModelTier] = {
    **{tier.value: tier for tier in ModelTier},
    "reasoning": ModelTier.CRITICAL,
}
"""How tiers may be called. Source: seed A's code says `reasoning` for critical."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a choice of models can go by."""

    text: str
    """What was said last."""
    tools: int = 0
    """How many the model is given."""
    messages: int = 1
    """How long the conversation is, as far as the caller knows; its session may know more."""
    session_id: str | None = None
    owner: str | None = None
    climbs: bool = False
    """Whether a weak answer may go to a higher tier: the chain then goes on through these."""
    may_explore: bool = True
    """Whether a stronger tier may be tried out; never for urgent work."""
    is_capped: bool = False
    """Whether a cap in money counts: then a model without a price cannot be asked."""
    luck: float = 1.0
    """An even draw from 0..1; the low end of it may try a stronger tier. 1 tries nothing."""


class Level(BaseModel):
    """A tier in a chain that climbs, and what was expected of it for the request."""

    model_config = ConfigDict(frozen=True)

    place: int
    """Where in the chain its models begin."""
    tier: ModelTier
    quality: float
    """0..1."""
    cost: float
    """Of a usual call, as a share of the cost reference."""


class Cascade(BaseModel):
    """What is known, as a run is accepted, to weigh whether a flawed answer is worth going up."""

    model_config = ConfigDict(frozen=True)

    levels: tuple[Level, ...] = ()
    task_class: str = ""
    graded: Graded = Graded()
    """How the look did on answers of this class."""

    def moved(self, places: Mapping[int, int]) -> "Cascade":
        """Return it for another chain: where each level begins there; others are left out."""
        levels = {
            places[level.place]: level.model_copy(update={"place": places[level.place]})
            for level in self.levels
            if level.place in places
        }
        return self.model_copy(update={"levels": tuple(levels.values())})

    @property
    def verifier(self) -> Verifier:
        """What is known of the look, as far as this run needs it."""
        return Verifier(classes={self.task_class: self.graded})


@dataclass(frozen=True, slots=True)
class Choice:
    """The chain of models to ask, and why it is that one."""

    models: tuple[str, ...]
    tier: ModelTier | None = None
    decision: dict[str, Any] = field(default_factory=dict)
    rungs: tuple[int, ...] = ()
    """Places in `models` where a higher tier begins."""
    cascade: Cascade | None = None
    """What is expected of the tiers; None where it does not climb, or nothing was judged."""


class ModelRouter(Protocol):
    """Chooses models for a question."""

    async def choose(self, tier: ModelTier | None, question: Question) -> Choice:
        """Return the chain of `tier`; without a tier, of the one that fits the question."""
        ...


class FixedTiers:
    """The router that looks at nothing: tiers as configured, `auto` is the default chain."""

    def __init__(self, tiers: Mapping[ModelTier, tuple[str, ...]], usual: tuple[str, ...]) -> None:
        self._tiers = tiers
        self._usual = usual

    async def choose(self, tier: ModelTier | None, question: Question) -> Choice:  # noqa: ARG002 - the port's shape
        """Return the chain; see the port."""
        if tier is None:
            return Choice(self._usual, None, {"reason": "the default chain"})
        models = self._tiers.get(tier) or self._usual
        return Choice(models, tier, {"tier": tier.value, "reason": "asked for by name"})


def is_choice(model: str) -> bool:
    """Say whether `model` is no model but a choice of them."""
    return model == AUTO or model.startswith(TIER_PREFIX)


def tier_of(model: str) -> ModelTier | None:
    """Return the tier that `model` names, None for `auto`.

    Raises:
        NotFoundError: there is no such tier.
    """
    if model == AUTO:
        return None
    tier = TIER_NAMES.get(model.removeprefix(TIER_PREFIX))
    if tier is None:
        known = ", ".join(f"{TIER_PREFIX}{tier}" for tier in ModelTier)
        raise NotFoundError(f"there is no model {model[:100]!a}; tiers are {known}", field="model")
    return tier
