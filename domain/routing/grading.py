"""How far the look at answers can be trusted: how often it errs, by class of task.

Learned from answers whose worth is known. Knows no models, no tiers and no prices.
"""

from pydantic import BaseModel, ConfigDict, Field

PASSES_GOOD = 0.9
"""Share of good answers that the look passes, as long as nothing else is known."""
PASSES_BAD = 0.3
LEAST_GOOD = 0.8
MOST_BAD = 0.5
"""A look that passes fewer good answers, or more bad ones, is no better than prediction: off."""
_STRENGTH = 20.0
"""Graded answers that the figures above count for."""


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
