"""The cascade: answer low, look at the answer, go up only where that pays.

`P(wrong | signals) * (quality of the stronger tier - quality of a wrong answer)` must be more
than what the stronger call costs. How far the look can be trusted is learned per class of task.
"""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from domain.routing.deciding import COST_WEIGHT
from domain.routing.verifying import Flaw, Verdict
from domain.tiers import ModelTier

PASSES_GOOD = 0.9
"""Share of good answers that the look passes, as long as nothing else is known."""
PASSES_BAD = 0.3
LEAST_GOOD = 0.8
MOST_BAD = 0.5
"""A look that passes fewer good answers, or more bad ones, is no better than prediction: off."""
_STRENGTH = 20.0
"""Graded answers that the figures above count for."""

_BROKEN = frozenset({Flaw.EMPTY, Flaw.TRUNCATED, Flaw.SCHEMA})
"""Flaws that leave nothing of an answer; no figure is needed to see that it is wrong."""


class Graded(BaseModel):
    """How the look did on answers of one class whose worth is known."""

    model_config = ConfigDict(frozen=True)

    good: int = 0
    good_passed: int = 0
    bad: int = 0
    bad_passed: int = 0

    @property
    def passes_good(self) -> float:
        """Share of good answers that pass (its true positive rate)."""
        return (self.good_passed + _STRENGTH * PASSES_GOOD) / (self.good + _STRENGTH)

    @property
    def passes_bad(self) -> float:
        """Share of bad answers that pass (its false positive rate)."""
        return (self.bad_passed + _STRENGTH * PASSES_BAD) / (self.bad + _STRENGTH)

    @property
    def is_trusted(self) -> bool:
        """Whether going up by this look beats going up by prediction."""
        return self.passes_good >= LEAST_GOOD and self.passes_bad <= MOST_BAD

    def after(self, *, is_good: bool, passed: bool) -> "Graded":
        """Return the figures after one more graded answer."""
        return Graded(
            good=self.good + is_good,
            good_passed=self.good_passed + (is_good and passed),
            bad=self.bad + (not is_good),
            bad_passed=self.bad_passed + (not is_good and passed),
        )

    def wrong(self, quality: float, *, passed: bool) -> float:
        """Return how likely an answer is wrong, given the quality to expect and the look."""
        good = self.passes_good if passed else 1 - self.passes_good
        bad = self.passes_bad if passed else 1 - self.passes_bad
        return (1 - quality) * bad / ((1 - quality) * bad + quality * good)


class Verifier(BaseModel):
    """What is known of the look, by class of task."""

    model_config = ConfigDict(frozen=True)

    classes: dict[str, Graded] = Field(default_factory=dict)

    def graded(self, task_class: str) -> Graded:
        """Return the figures of a class."""
        return self.classes.get(task_class, Graded())

    def after(self, task_class: str, *, is_good: bool, passed: bool) -> "Verifier":
        """Return what is known after one more graded answer."""
        grown = self.graded(task_class).after(is_good=is_good, passed=passed)
        return Verifier(classes={**self.classes, task_class: grown})


@dataclass(frozen=True, slots=True)
class Step:
    """One tier's answer and what the next tier would bring."""

    tier: ModelTier
    next_tier: ModelTier | None
    """None at the top of the ladder."""
    quality: float
    """What was to be expected of the tier for this request, 0..1."""
    next_quality: float
    next_cost: float
    """Of a call, as a share of the cost reference."""
    task_class: str = ""


@dataclass(frozen=True, slots=True)
class Escalation:
    """Whether to go up, and the sum that says so."""

    tier: ModelTier | None
    """Where to; None stays."""
    reason: str
    wrong: float
    gain: float
    price: float

    def as_route(self, step: Step) -> dict[str, object]:
        """Return the data of `route_decided` for going up."""
        return {
            "kind": "escalation",
            "tier": str(self.tier or step.tier),
            "escalated_from": str(step.tier),
            "reason": self.reason,
            "scores": {
                "wrong": round(self.wrong, 4),
                "gain": round(self.gain, 4),
                "price": round(self.price, 4),
            },
        }


def escalate(step: Step, verdict: Verdict, verifier: Verifier) -> Escalation:
    """Return whether the next tier is asked after this answer.

    A broken answer (empty, cut, no valid JSON) is wrong whatever the class; other flaws count as
    much as the class's figures say.
    """
    graded = verifier.graded(step.task_class)
    broken = verdict.flaw is not None and verdict.flaw in _BROKEN
    wrong = 1.0 if broken else graded.wrong(step.quality, passed=verdict.passed)
    gain, price = wrong * step.next_quality, COST_WEIGHT * step.next_cost
    stays = _stays(step, broken, graded, pays=gain > price)
    if stays is not None:
        return Escalation(None, stays, wrong, gain, price)
    return Escalation(step.next_tier, verdict.reason, wrong, gain, price)


def _stays(step: Step, broken: bool, graded: Graded, *, pays: bool) -> str | None:
    """Say why the next tier is not asked; None: it is."""
    if step.next_tier is None:
        return f"there is no tier above {step.tier}"
    if not broken and not graded.is_trusted:
        return (
            f"the look at answers is off for {step.task_class or 'this class'}: it errs too often"
        )
    return None if pays else "the answer is good enough for what a stronger one costs"
