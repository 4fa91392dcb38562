"""The choice of models for `auto` and for tiers: complexity, outcomes, prices and sessions.

Knows ports only; how it is decided is in `domain.routing`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.chat import TokenUsage
from domain.learning.learning import Learning
from domain.learning.memory import Memory
from domain.ports import Clock, PriceList
from domain.routing.classes import task_class_of
from domain.routing.complexity import Around, Complexity, complexity_of
from domain.routing.deciding import TierAsk, TierDecision, decide, session_floor
from domain.routing.ladder import LADDER, Climb, Ladder
from domain.tiers import Cascade, Choice, Level, ModelTier, Question

_USUAL_CALL = TokenUsage(input_tokens=1000, output_tokens=500)
"""What prices of tiers are compared by."""
_UNPRICED: Mapping[ModelTier, float] = {
    ModelTier.SIMPLE: 0.1,
    ModelTier.MEDIUM: 0.4,
    ModelTier.COMPLEX: 1.0,
    ModelTier.CRITICAL: 2.0,
}
"""Shares of the cost reference where a price is not known."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a look at the question came to, and what was learned before it."""

    complexity: Complexity
    task_class: str
    costs: Mapping[ModelTier, float]
    memory: Memory

    def cascade(self, climb: Climb) -> Cascade:
        """Return what is to be expected of every tier of a climb."""
        places = zip((0, *climb.rungs), climb.tiers, strict=True)
        levels = tuple(self._level(place, tier) for place, tier in places)
        return Cascade(
            levels=levels,
            task_class=self.task_class,
            graded=self.memory.verifier.graded(self.task_class),
        )

    def _level(self, place: int, tier: ModelTier) -> Level:
        predicted = self.complexity.quality(tier)
        expected = self.memory.tiers.estimate(self.task_class, tier, predicted)
        return Level(place=place, tier=tier, quality=expected.mean, cost=self.costs[tier])


class LearnedRouter:
    """The `ModelRouter` that looks at the question and at what it learned."""

    def __init__(self, ladder: Ladder, learning: Learning, prices: PriceList, clock: Clock) -> None:
        self._ladder = ladder
        self._learning = learning
        self._prices = prices
        self._clock = clock

    async def choose(self, tier: ModelTier | None, question: Question) -> Choice:
        """Return the chain; see the port."""
        if tier is not None:
            named: dict[str, object] = {
                "kind": "tier",
                "tier": tier.value,
                "reason": "asked for by name",
            }
            climb = self._climb(tier, question)
            judged = await self._judge(question) if climb.rungs else None
            return _choice(tier, named, climb, judged)
        if not self._ladder.served():
            reason = "no tiers are configured: the usual models"
            return Choice(
                self._ladder.usual, None, {"kind": "tier", "tier": None, "reason": reason}
            )
        judged = await self._judge(question)
        decision = await self._decide(question, judged)
        climb = self._climb(decision.tier, question)
        return _choice(decision.tier, decision.as_route(), climb, judged)

    def _climb(self, tier: ModelTier, question: Question) -> Climb:
        return self._ladder.climb(tier) if question.climbs else Climb(self._ladder.chain(tier))

    async def _judge(self, question: Question) -> _Judged:
        around = Around(question.tools, max(0, question.messages - 1))
        return _Judged(
            complexity=complexity_of(question.text, around),
            task_class=task_class_of(question.text),
            costs=self.costs(),
            memory=await self._learning.recall(question.owner or ""),
        )

    async def _decide(self, question: Question, judged: _Judged) -> TierDecision:
        ask = TierAsk(
            complexity=judged.complexity,
            task_class=judged.task_class,
            costs=judged.costs,
            served=self._ladder.served(),
            floor=await self._floor(question),
        )
        return decide(ask, judged.memory.tiers, question.luck)

    async def _floor(self, question: Question) -> ModelTier | None:
        if question.owner is None or question.session_id is None:
            return None
        reached = await self._learning.reached(question.owner, question.session_id)
        return session_floor(reached.tier, self._clock.now_ms() - reached.at)

    def costs(self) -> dict[ModelTier, float]:
        """Return what a usual call costs in each tier, as a share of the complex one."""
        prices = {tier: self._price(tier) for tier in LADDER}
        reference = prices[ModelTier.COMPLEX] or max(filter(None, prices.values()), default=0.0)
        return {
            tier: _UNPRICED[tier] if price is None or not reference else price / reference
            for tier, price in prices.items()
        }

    def _price(self, tier: ModelTier) -> float | None:
        models = self._ladder.chain(tier)
        cost = self._prices.cost(models[0], _USUAL_CALL) if models else None
        return None if cost is None else float(cost)


def _choice(
    tier: ModelTier, decision: dict[str, object], climb: Climb, judged: _Judged | None
) -> Choice:
    cascade = judged.cascade(climb) if judged is not None and climb.rungs else None
    return Choice(climb.models, tier, decision, climb.rungs, cascade)
