"""The choice of models for `auto` and for tiers: complexity, outcomes, prices and sessions.

Knows ports only; how it is decided is in `domain.routing`.
"""

from collections.abc import Mapping

from domain.chat import TokenUsage
from domain.learning.learning import Learning
from domain.ports import Clock, PriceList
from domain.routing.classes import task_class_of
from domain.routing.complexity import Around, complexity_of
from domain.routing.deciding import TierAsk, TierDecision, decide, session_floor
from domain.routing.ladder import LADDER, Climb, Ladder
from domain.tiers import Choice, ModelTier, Question

_USUAL_CALL = TokenUsage(input_tokens=1000, output_tokens=500)
"""What prices of tiers are compared by."""
_UNPRICED: Mapping[ModelTier, float] = {
    ModelTier.SIMPLE: 0.1,
    ModelTier.MEDIUM: 0.4,
    ModelTier.COMPLEX: 1.0,
    ModelTier.CRITICAL: 2.0,
}
"""Shares of the cost reference where a price is not known."""


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
            return self._choice(tier, question, named)
        if not self._ladder.served():
            reason = "no tiers are configured: the usual models"
            return Choice(
                self._ladder.usual, None, {"kind": "tier", "tier": None, "reason": reason}
            )
        decision = await self._decide(question)
        return self._choice(decision.tier, question, decision.as_route())

    def _choice(self, tier: ModelTier, question: Question, decision: dict[str, object]) -> Choice:
        climb = self._ladder.climb(tier) if question.climbs else Climb(self._ladder.chain(tier))
        return Choice(climb.models, tier, decision, climb.rungs)

    async def _decide(self, question: Question) -> TierDecision:
        around = Around(question.tools, max(0, question.messages - 1))
        ask = TierAsk(
            complexity=complexity_of(question.text, around),
            task_class=task_class_of(question.text),
            costs=self.costs(),
            served=self._ladder.served(),
            floor=await self._floor(question),
        )
        memory = await self._learning.recall(question.owner or "")
        return decide(ask, memory.tiers, question.luck)

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
