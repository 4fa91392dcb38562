"""An agent's chain of models as a run takes it along: names of choices become real models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from domain.run import RunSpec
from domain.tiers import Cascade, Choice, ModelRouter, ModelTier, Question, is_choice, tier_of


@dataclass(frozen=True, slots=True)
class Chain:
    """Real models in the order they are tried. `rungs` are places where a higher tier begins."""

    models: tuple[str, ...]
    rungs: tuple[int, ...] = ()
    tier: ModelTier | None = None
    """The tier that was chosen first, None where none was."""
    decision: dict[str, Any] = field(default_factory=dict)
    """Why, as `route_decided` says it; empty where nothing was to be chosen."""
    cascade: Cascade | None = None
    """What was expected of the tiers of the first choice."""
    standing: Mapping[str, tuple[ModelTier, float | None]] = field(default_factory=dict)
    """By model the tier that it was chosen for, and what was expected of it, where that is known.
    Models that are named themselves are of no tier."""


async def chain_of(models: Sequence[str], question: Question, router: ModelRouter) -> Chain:
    """Return a chain with every `auto` and `tier:` in it replaced; each model stands once.

    The first choice decides the tier and, where the question climbs, what is above it. In a chain
    that climbs, each name that stands behind another is above it.

    Raises:
        NotFoundError: there is no such tier.
    """
    chain = Chain(())
    for model in models:
        if not is_choice(model):
            chain = _longer(chain, Choice((model,)), climbs=question.climbs)
            continue
        first = not chain.decision
        asked = question if first else replace(question, climbs=False)
        choice = await router.choose(tier_of(model), asked)
        chain = _longer(chain, choice, climbs=question.climbs)
        if first:
            chain = replace(chain, tier=choice.tier, decision=choice.decision)
    return chain


def _longer(chain: Chain, choice: Choice, *, climbs: bool) -> Chain:
    """Return the chain with the models of a choice behind it; rungs move along with them."""
    found = dict.fromkeys(chain.models)
    begins = {0, *choice.rungs} if climbs else set[int]()
    moved = dict[int, int]()
    for place, model in enumerate(choice.models):
        if place in begins:
            moved[place] = len(found)
        found.setdefault(model)
    models = tuple(found)
    places = {old: new for old, new in moved.items() if new < len(models)}
    rungs = dict.fromkeys(rung for rung in (*chain.rungs, *places.values()) if rung > 0)
    cascade = choice.cascade.moved(places) if choice.cascade else chain.cascade
    standing = {**_standing(choice), **chain.standing}
    return replace(chain, models=models, rungs=tuple(rungs), cascade=cascade, standing=standing)


def _standing(choice: Choice) -> dict[str, tuple[ModelTier, float | None]]:
    """Return the tier of each model of a choice, with what was expected of that tier."""
    if choice.tier is None:
        return {}
    levels = choice.cascade.levels if choice.cascade else ()
    found: dict[str, tuple[ModelTier, float | None]] = {}
    first = (choice.tier, choice.decision.get("qualities", {}).get(choice.tier))
    for place, model in enumerate(choice.models):
        begun = [(level.tier, level.quality) for level in levels if level.place <= place]
        found[model] = begun[-1] if begun else first
    return found


def with_chain(spec: RunSpec, chain: Chain) -> RunSpec:
    """Return a snapshot with the models of a chain."""
    taken = {"models": chain.models, "rungs": chain.rungs, "cascade": chain.cascade}
    return spec.model_copy(update=taken)


def with_models(spec: RunSpec, models: tuple[str, ...]) -> RunSpec:
    """Return a snapshot with other models; if it climbs, each is above the one before."""
    rungs = tuple(range(1, len(models))) if spec.rungs else ()
    return with_chain(spec, Chain(models, rungs))
