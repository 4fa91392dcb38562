"""Statistics of small samples. Ratios are paired: ours and its anchor from the same round."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that `share` of all values do not exceed (nearest rank).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values, no percentile")
    rank = math.ceil(share * len(values))
    return sorted(values)[max(0, rank - 1)]


@dataclass(frozen=True, slots=True)
class Paired:
    """Rounds of ours and of its anchor, measured in turn."""

    ours: Sequence[float]
    anchor: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Return ours over anchor, round by round."""
        return [mine / other for mine, other in zip(self.ours, self.anchor, strict=True)]

    @property
    def ratio(self) -> float:
        """Return the median of the paired ratios."""
        return median(self.ratios)

    def shown(self, unit: str, scale: float = 1.0) -> tuple[str, str]:
        """Return both medians as text."""
        mine, other = median(self.ours) * scale, median(self.anchor) * scale
        return f"{mine:.3g} {unit}", f"{other:.3g} {unit}"


def slope(values: Sequence[tuple[float, float]]) -> float:
    """Return what y grows by per x between the first and the last point.

    Raises:
        ValueError: both points have the same x.
    """
    (x0, y0), (x1, y1) = values[0], values[-1]
    if x1 == x0:
        raise ValueError("a slope needs two different points")
    return (y1 - y0) / (x1 - x0)
