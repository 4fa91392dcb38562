"""The cascade on recorded outcomes: a simulated look at answers decides who is asked again."""

import statistics
from collections.abc import Sequence
from random import Random

from bench.bars import Figure
from bench.routing.data import Outcome, Recorded
from domain.routing.cascade import Step, escalate
from domain.routing.grading import PASSES_BAD, PASSES_GOOD, Verifier
from domain.routing.verifying import Flaw, Verdict
from domain.tiers import ModelTier

SEEDS = range(10)
NEXT_COST = 1.0
"""A strong call costs the reference."""


def measure(recorded: Recorded) -> list[Figure]:
    """Return the share of the gap at the share of strong calls, beside the best fixed choices."""
    outcomes = recorded.outcomes
    runs = [_run(outcomes, seed) for seed in SEEDS]
    gap, calls = statistics.mean(run[0] for run in runs), statistics.mean(run[1] for run in runs)
    fixed = _fixed(outcomes, calls)
    note = (
        f"the look passes {PASSES_GOOD:.0%} of good and {PASSES_BAD:.0%} of bad answers; the best"
        " fixed choice per class has as many strong calls and knows each class's outcomes"
    )
    return [
        Figure("cascade_gap", gap, f"{gap:.3f} of the gap", f"fixed {fixed:.3f}", note=note),
        Figure("cascade_calls", calls, f"{calls:.1%} strong calls", f"fixed {calls:.1%}"),
        Figure("cascade_lead", gap - fixed, f"{gap:.3f}", f"{fixed:.3f}"),
    ]


def _run(outcomes: Sequence[Outcome], seed: int) -> tuple[float, float]:
    """Return the share of the gap and of strong calls of one simulated pass."""
    chance, gained, calls = Random(seed), 0, 0
    verifier = Verifier()
    weak = statistics.mean(outcome.weak for outcome in outcomes)
    strong = statistics.mean(outcome.strong for outcome in outcomes)
    for outcome in outcomes:
        passed = chance.random() < (PASSES_GOOD if outcome.weak else PASSES_BAD)
        verdict = Verdict(None if passed else Flaw.LOW_CONFIDENCE, "simulated")
        step = Step(ModelTier.SIMPLE, ModelTier.COMPLEX, weak, strong, NEXT_COST)
        if escalate(step, verdict, verifier).tier is not None:
            calls += 1
            gained += outcome.gain
    return gained / sum(outcome.gain for outcome in outcomes), calls / len(outcomes)


def _fixed(outcomes: Sequence[Outcome], calls: float) -> float:
    """Return the gap of the best choice of one model per class, at the same strong calls."""
    gains: dict[str, list[int]] = {}
    for outcome in outcomes:
        gains.setdefault(outcome.task, []).append(outcome.gain)
    left, gained = calls * len(outcomes), 0.0
    for each in sorted(gains.values(), key=lambda each: -statistics.mean(each)):
        taken = min(left, len(each))
        gained += taken * statistics.mean(each)
        left -= taken
    return gained / sum(outcome.gain for outcome in outcomes)
