"""Boosted decision trees of one target in 0/1, in plain Python: small, slow, the same every time.

Newton steps on the logistic loss, 32 bins a feature, a third of the features per tree. What it
returns are trees as `domain.routing.trees` reads them.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from domain.routing.trees import Node

BINS = 32


@dataclass(frozen=True, slots=True)
class Settings:
    """How trees are grown."""

    trees: int = 40
    depth: int = 3
    rate: float = 0.05
    least_rows: int = 40
    pull: float = 5.0
    share_of_features: float = 0.3
    seed: int = 1


@dataclass(slots=True)
class Columns:
    """The features by column: cut points, and each row's bin."""

    cuts: list[list[float]]
    bins: list[bytes]

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> "Columns":
        cuts, bins = [], []
        for column in zip(*rows, strict=True):
            cut = _cuts(column)
            cuts.append(cut)
            bins.append(bytes(bisect_right(cut, value) for value in column))
        return cls(cuts, bins)


def _cuts(column: Sequence[float]) -> list[float]:
    """Return at most 31 values that part a column into even shares; a cut belongs to its right."""
    ordered = sorted(column)
    wanted = {ordered[len(ordered) * place // BINS] for place in range(1, BINS)}
    return sorted(wanted - {ordered[0]})


def grow(
    columns: Columns, rows: Sequence[int], target: Sequence[float], settings: Settings
) -> tuple[float, list[Node]]:
    """Return the base log odds and the trees for the rows named."""
    chance = Random(settings.seed)
    mean = sum(target[row] for row in rows) / len(rows)
    base = math.log(mean / (1 - mean))
    score = dict.fromkeys(rows, base)
    trees = []
    for _ in range(settings.trees):
        grads, weights = {}, {}
        for row in rows:
            p = 1 / (1 + math.exp(-score[row]))
            grads[row], weights[row] = target[row] - p, p * (1 - p)
        count = max(1, int(len(columns.cuts) * settings.share_of_features))
        features = chance.sample(range(len(columns.cuts)), count)
        grower = _Grower(columns, grads, weights, features, settings)
        trees.append(grower.node(list(rows), settings.depth))
        for row, step in grower.steps.items():
            score[row] += step
    return base, trees


class _Grower:
    """One tree under way."""

    def __init__(
        self,
        columns: Columns,
        grads: dict[int, float],
        weights: dict[int, float],
        features: Sequence[int],
        settings: Settings,
    ) -> None:
        self.columns, self.grads, self.weights = columns, grads, weights
        self.features, self.settings = features, settings
        self.steps: dict[int, float] = {}

    def node(self, rows: list[int], depth: int) -> Node:
        grads = [self.grads[row] for row in rows]
        weights = [self.weights[row] for row in rows]
        whole = (sum(grads), sum(weights))
        value = self.settings.rate * whole[0] / (whole[1] + self.settings.pull)
        split = self._split(rows, grads, weights, whole) if depth else None
        if split is None:
            self.steps.update(dict.fromkeys(rows, value))
            return Node(value)
        feature, place = split
        bins = self.columns.bins[feature]
        left = [row for row in rows if bins[row] <= place]
        right = [row for row in rows if bins[row] > place]
        return Node(
            value,
            feature,
            self.columns.cuts[feature][place],
            self.node(left, depth - 1),
            self.node(right, depth - 1),
        )

    def _split(
        self,
        rows: list[int],
        grads: list[float],
        weights: list[float],
        whole: tuple[float, float],
    ) -> tuple[int, int] | None:
        best, found = 1e-6, None
        for feature in self.features:
            bins = self.columns.bins[feature]
            count, grad, weight = [0] * BINS, [0.0] * BINS, [0.0] * BINS
            for row, g, w in zip(rows, grads, weights, strict=True):
                place = bins[row]
                count[place] += 1
                grad[place] += g
                weight[place] += w
            for place, gain in self._gains(count, grad, weight, whole):
                if gain > best:
                    best, found = gain, (feature, place)
        return found

    def _gains(
        self,
        count: list[int],
        grad: list[float],
        weight: list[float],
        whole: tuple[float, float],
    ) -> list[tuple[int, float]]:
        pull, least = self.settings.pull, self.settings.least_rows
        rows, parent = sum(count), whole[0] ** 2 / (whole[1] + pull)
        n, g, w = 0, 0.0, 0.0
        gains = []
        for place in range(BINS - 1):
            n, g, w = n + count[place], g + grad[place], w + weight[place]
            if least <= n <= rows - least:
                other = (whole[0] - g) ** 2 / (whole[1] - w + pull)
                gains.append((place, g**2 / (w + pull) + other - parent))
        return gains
