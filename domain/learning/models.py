"""The choice of models for `auto` and for tiers: complexity, outcomes, prices and sessions.

Knows ports only; how it is decided is in `domain.routing`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from domain.learning.books import Reached
from domain.learning.learning import Learning
from domain.learning.memory import Memory
from domain.learning.tiercosts import Pricing
from domain.ports import Clock
from domain.routing.classes import task_class_of
from domain.routing.complexity import Around, Complexity, complexity_of
from domain.routing.deciding import TierAsk, TierDecision, above_floor, decide, session_floor
from domain.routing.ladder import Climb, Ladder
from domain.tiers import Cascade, Choice, Level, ModelTier, Question


@dataclass(frozen=True, slots=True)
class _Case:
    """A question with its session, and the ladder that can be paid for."""

    question: Question
    ladder: Ladder
    floor: ModelTier | None = None
    messages: int = 0
    """How long the conversation was before the question."""
    left_out: tuple[ModelTier, ...] = ()
    """Tiers that have no model of a known price, where money is capped."""

    @property
    def served(self) -> tuple[ModelTier, ...]:
        return self.ladder.served()

    def said(self, reason: str) -> str:
        """Return a reason with what was left out."""
        if not self.left_out:
            return reason
        names = ", ".join(self.left_out)
        return f"{reason}; without {names}: money is capped, and no model there has a price"


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

    def __init__(self, ladder: Ladder, learning: Learning, pricing: Pricing, clock: Clock) -> None:
        self._ladder = ladder
        self._learning = learning
        self._pricing = pricing
        self._clock = clock

    async def choose(self, tier: ModelTier | None, question: Question) -> Choice:
        """Return the chain; see the port.

        In a session no tier below the one that it has reached is taken, named or not. What it has
        reached is what is on record now: runs that are accepted side by side do not see how far
        the others will come.
        """
        if not self._ladder.served() and tier is None:
            reason = "no tiers are configured: the usual models"
            return Choice(
                self._ladder.usual, None, {"kind": "tier", "tier": None, "reason": reason}
            )
        case = await self._case(question)
        if tier is not None:
            return await self._named(tier, case)
        judged = await self._judge(case)
        decision = self._decide(case, judged)
        route = {**decision.as_route(), "reason": case.said(decision.reason)}
        return _choice(decision.tier, route, _climb(decision.tier, case), judged)

    async def _named(self, tier: ModelTier, case: _Case) -> Choice:
        if tier in case.left_out:
            case = replace(case, ladder=self._ladder)
        held, reason = tier, "asked for by name"
        if case.served:
            held = above_floor(tier, case.floor, case.served)
        if held is not tier:
            reason = f"{tier} was asked for by name; the session has reached {case.floor}"
        named: dict[str, object] = {"kind": "tier", "tier": held.value, "reason": reason}
        climb = _climb(held, case)
        judged = await self._judge(case) if climb.rungs else None
        return _choice(held, named, climb, judged)

    async def _case(self, question: Question) -> _Case:
        ladder, reached = self._ladder, await self._reached(question)
        if question.is_capped:
            ladder = (await self._pricing.of(ladder)).payable(ladder)
        return _Case(
            question,
            ladder,
            floor=session_floor(reached.tier, self._clock.now_ms() - reached.at),
            messages=max(reached.messages, question.messages - 1),
            left_out=tuple(t for t in self._ladder.served() if t not in ladder.served()),
        )

    async def _reached(self, question: Question) -> Reached:
        if question.owner is None or question.session_id is None:
            return Reached()
        return await self._learning.reached(question.owner, question.session_id)

    async def _judge(self, case: _Case) -> _Judged:
        question = case.question
        around = Around(question.tools, case.messages)
        return _Judged(
            complexity=complexity_of(question.text, around),
            task_class=task_class_of(question.text),
            costs=(await self._pricing.of(case.ladder)).costs(case.ladder),
            memory=await self._learning.recall(question.owner or ""),
        )

    def _decide(self, case: _Case, judged: _Judged) -> TierDecision:
        ask = TierAsk(
            complexity=judged.complexity,
            task_class=judged.task_class,
            costs=judged.costs,
            served=case.served,
            floor=case.floor,
            may_explore=case.question.may_explore,
        )
        return decide(ask, judged.memory.tiers, case.question.luck)


def _climb(tier: ModelTier, case: _Case) -> Climb:
    ladder = case.ladder
    return ladder.climb(tier) if case.question.climbs else Climb(ladder.chain(tier))


def _choice(
    tier: ModelTier, decision: dict[str, object], climb: Climb, judged: _Judged | None
) -> Choice:
    cascade = judged.cascade(climb) if judged is not None and climb.rungs else None
    return Choice(climb.models, tier, decision, climb.rungs, cascade)
