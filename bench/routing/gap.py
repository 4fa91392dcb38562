"""APGR: how much of the gap between two models a ranking of prompts recovers, on average.

Source: RouteLLM (2406.18665). The strong model gets the prompts with the highest scores; the
share of the gap recovered is averaged over every share of strong calls from 0 to 1. A ranking by
chance comes to 0.5. Prompts of equal score count by their mean.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, groupby, pairwise

from bench.routing.data import Outcome

Score = Callable[[str], float]


def recovered(scored: Sequence[tuple[float, int]]) -> list[float]:
    """Return the share of the gap recovered after 0, 1, 2 ... strong calls; ends at 1."""
    gains: list[float] = [0.0]
    ordered = sorted(scored, key=lambda pair: -pair[0])
    for _, group in groupby(ordered, key=lambda pair: pair[0]):
        tied = [gain for _, gain in group]
        gains += [sum(tied) / len(tied)] * len(tied)
    whole = sum(gains)
    return [each / whole for each in accumulate(gains)]


def apgr(scored: Sequence[tuple[float, int]]) -> float:
    """Return the area under the curve of what is recovered."""
    curve = recovered(scored)
    return sum((one + other) / 2 for one, other in pairwise(curve)) / (len(curve) - 1)


def apgr_of(score: Score, outcomes: Iterable[Outcome]) -> float:
    """Return the APGR of a score of prompts."""
    return apgr([(score(outcome.prompt), outcome.gain) for outcome in outcomes])


def calls_for(share: float, scored: Sequence[tuple[float, int]]) -> float:
    """Return the share of strong calls after which `share` of the gap is recovered."""
    curve = recovered(scored)
    return next(at for at, value in enumerate(curve) if value >= share) / (len(curve) - 1)
