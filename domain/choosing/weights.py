"""What each criterion counts for: equal at first, then what outcomes say, never far from equal.

A ridge regression of utilities on the chosen agents' criteria, pulled towards equal weights.
"""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

CRITERIA = (
    "specialty_match",
    "context_relevance",
    "past_performance",
    "resource_availability",
    "cost_efficiency",
    "user_preference",
)
"""In this order everywhere. Source: seed E."""
EQUAL = 1 / len(CRITERIA)
PULL = 30.0
"""Precision of the prior: as many outcomes pull towards equal weights."""
REFIT_EVERY = 100
LEAST = 0.02
"""No criterion falls below it."""

Vector = tuple[float, ...]
Matrix = tuple[Vector, ...]
_NONE: Vector = (0.0,) * len(CRITERIA)


class Weights(BaseModel):
    """The weights in force, and the sums from which the next ones are worked out."""

    model_config = ConfigDict(frozen=True)

    values: Vector = (EQUAL,) * len(CRITERIA)
    outcomes: int = 0
    utility: float = 0.0
    """Sum of utilities."""
    scores: Vector = _NONE
    """Sum of criteria."""
    squares: Matrix = (_NONE,) * len(CRITERIA)
    """Sum of products of criteria."""
    products: Vector = _NONE
    """Sum of criteria times utility."""

    def total(self, scores: Mapping[str, float]) -> float:
        """Return the weighted sum of one agent's criteria."""
        return sum(
            weight * scores[name] for weight, name in zip(self.values, CRITERIA, strict=True)
        )

    def named(self) -> dict[str, float]:
        """Return the weights by criterion."""
        return dict(zip(CRITERIA, self.values, strict=True))

    def after(self, scores: Mapping[str, float], utility: float) -> "Weights":
        """Return the weights after one more labelled outcome; every hundredth changes them."""
        row = tuple(scores[name] for name in CRITERIA)
        grown = self.model_copy(
            update={
                "outcomes": self.outcomes + 1,
                "utility": self.utility + utility,
                "scores": _plus(self.scores, row),
                "squares": tuple(
                    _plus(line, [one * other for other in row])
                    for line, one in zip(self.squares, row, strict=True)
                ),
                "products": _plus(self.products, [one * utility for one in row]),
            }
        )
        return grown if grown.outcomes % REFIT_EVERY else grown._refitted()

    def _refitted(self) -> "Weights":
        """Solve `(S'S + 30 I) d = S'(u - S equal)` for centred S and u; weights are equal + d."""
        n = self.outcomes
        centred = [
            [square - one * other / n for square, other in zip(line, self.scores, strict=True)]
            for line, one in zip(self.squares, self.scores, strict=True)
        ]
        wanted = [
            product - score * self.utility / n - EQUAL * sum(line)
            for product, score, line in zip(self.products, self.scores, centred, strict=True)
        ]
        for place, line in enumerate(centred):
            line[place] += PULL
        moved = [max(LEAST, EQUAL + each) for each in _solve(centred, wanted)]
        whole = sum(moved)
        return self.model_copy(update={"values": tuple(each / whole for each in moved)})


def _plus(one: Sequence[float], other: Sequence[float]) -> Vector:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _solve(matrix: list[list[float]], wanted: list[float]) -> list[float]:
    """Return the solution of a positive definite system; needs no pivots."""
    rows = [[*line, value] for line, value in zip(matrix, wanted, strict=True)]
    for place, row in enumerate(rows):
        for other in rows[place + 1 :]:
            factor = other[place] / row[place]
            other[place:] = [
                a - factor * b for a, b in zip(other[place:], row[place:], strict=True)
            ]
    found: list[float] = []
    for place in reversed(range(len(rows))):
        known = sum(a * b for a, b in zip(rows[place][place + 1 : -1], found, strict=True))
        found.insert(0, (rows[place][-1] - known) / rows[place][place])
    return found
