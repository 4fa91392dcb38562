"""The cascade: answer low, look at the answer, go up only where that pays.

`P(wrong | signals) * (quality of the stronger tier - quality of a wrong answer)` must be more
than what the stronger call costs. How far the look can be trusted is learned per class of task.
"""

from dataclasses import dataclass

from domain.routing.deciding import COST_WEIGHT
from domain.routing.grading import Graded, Verifier
from domain.routing.verifying import Flaw, Verdict
from domain.run import RunSpec
from domain.tiers import ModelTier

BROKEN = frozenset({Flaw.EMPTY, Flaw.TRUNCATED, Flaw.SCHEMA})
"""Flaws that leave nothing of an answer; no figure is needed to see that it is wrong."""


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
        """Return the data of `route_decided`; `tier` is where to, or where it stays."""
        return {
            "kind": "escalation",
            "tier": str(self.tier or step.tier),
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
    broken = verdict.flaw is not None and verdict.flaw in BROKEN
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


def step_of(spec: RunSpec, model: str) -> Step | None:
    """Return what was known of going up from a model of a run when the run was accepted.

    None: nothing, as in a chain of named models; then there is no sum to be made.
    """
    if spec.cascade is None or model not in spec.models:
        return None
    place = spec.models.index(model)
    begin = max(start for start in (0, *spec.rungs) if start <= place)
    above = next((start for start in spec.rungs if start > place), None)
    levels = {level.place: level for level in spec.cascade.levels}
    low, high = levels.get(begin), None if above is None else levels.get(above)
    if low is None or high is None:
        return None
    task_class = spec.cascade.task_class
    return Step(low.tier, high.tier, low.quality, high.quality, high.cost, task_class)
