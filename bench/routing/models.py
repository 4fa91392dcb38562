"""Model routing on recorded outcomes of subjects that the model was not fitted on."""

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from bench.bars import Figure
from bench.routing.anchors import by_chance, by_keywords, by_length
from bench.routing.boosting import Settings
from bench.routing.data import Outcome, Recorded
from bench.routing.fit import Material, gap_of
from bench.routing.gap import apgr, apgr_of, calls_for
from domain.routing.coefficients import FITTED_ON
from domain.routing.complexity import complexity_of
from domain.routing.fitted import heads, unpack

ENOUGH = 500
"""Outcomes of subjects not fitted on that are judged directly, with the model as it is shipped."""
HELD_OUT = 0.35
"""Share of the subjects that a fit does not see: 20 of 57 in the published benchmark."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Prompts judged by a model that saw none of their subjects."""

    outcomes: Sequence[Outcome]
    scores: Sequence[float]

    @property
    def scored(self) -> list[tuple[float, int]]:
        return [(s, o.gain) for s, o in zip(self.scores, self.outcomes, strict=True)]


def measure(recorded: Recorded, splits: int) -> list[Figure]:
    """Return the APGR of the router beside its anchors, and the time of an estimate."""
    unseen = [each for each in recorded.outcomes if each.task not in FITTED_ON]
    if len(unseen) >= ENOUGH and not recorded.is_sample:
        judged, how = [_shipped(unseen)], f"shipped model, {len(unseen)} prompts of new subjects"
    else:
        judged = list(_held_out(recorded.outcomes, splits))
        how = f"{splits} fits, each judged on {HELD_OUT:.0%} of the subjects, not seen by it"
    ours = [apgr(each.scored) for each in judged]
    anchors = {
        name: statistics.mean(apgr_of(score, each.outcomes) for each in judged)
        for name, score in (("keywords", by_keywords), ("length", by_length), ("chance", by_chance))
    }
    anchors["known"] = statistics.mean(_known(each.outcomes) for each in judged)
    best = max(anchors["keywords"], anchors["length"])
    shown = ", ".join(f"{name} {value:.3f}" for name, value in anchors.items())
    calls = statistics.mean(calls_for(0.8, each.scored) for each in judged)
    value, spread = statistics.mean(ours), statistics.pstdev(ours)
    detail = {"splits": ours, "anchors": anchors, "subjects": _by_subject(judged)}
    return [
        Figure(
            "apgr",
            value,
            f"{value:.3f} +- {spread:.3f}",
            shown,
            ours,
            note=f"{how}; 80 % of the gap at {calls:.0%} strong calls",
            detail=detail,
        ),
        Figure("apgr_lead", value - best, f"{value:.3f}", f"{best:.3f}"),
        _time(recorded.outcomes),
    ]


def _shipped(unseen: Sequence[Outcome]) -> Judged:
    return Judged(unseen, [gap_of(each.prompt, heads()) for each in unseen])


def _held_out(outcomes: Sequence[Outcome], splits: int) -> list[Judged]:
    """Return what models say of subjects that each of them did not see."""
    material, chance = Material(outcomes), Random(5)
    tasks = sorted({outcome.task for outcome in outcomes})
    judged = []
    for number in range(splits):
        held = set(chance.sample(tasks, max(1, round(len(tasks) * HELD_OUT))))
        rows = [row for row, each in enumerate(outcomes) if each.task not in held]
        model = unpack(material.fit(rows, Settings(seed=number)))
        others = [each for each in outcomes if each.task in held]
        judged.append(Judged(others, [gap_of(each.prompt, model) for each in others]))
    return judged


def _known(outcomes: Sequence[Outcome]) -> float:
    """Return the APGR of whoever knows each subject's mean gain, and nothing of its prompts."""
    gains = _gains(outcomes)
    return apgr([(statistics.mean(gains[each.task]), each.gain) for each in outcomes])


def _gains(outcomes: Iterable[Outcome]) -> dict[str, list[int]]:
    gains: dict[str, list[int]] = {}
    for outcome in outcomes:
        gains.setdefault(outcome.task, []).append(outcome.gain)
    return gains


def _by_subject(judged: Sequence[Judged]) -> dict[str, float]:
    """Return the mean gain per subject, for whoever wants to see where it is to be had."""
    gains = _gains({id(each): each for one in judged for each in one.outcomes}.values())
    return {task: round(statistics.mean(each), 3) for task, each in sorted(gains.items())}


def _time(outcomes: Sequence[Outcome]) -> Figure:
    """Return the CPU time of an estimate: the best of five rounds, for the machine is shared."""
    prompts = [outcome.prompt for outcome in outcomes[:: max(1, len(outcomes) // 300)]]
    rounds = []
    for _ in range(5):
        started = time.process_time()
        for prompt in prompts:
            complexity_of(prompt)
        rounds.append((time.process_time() - started) / len(prompts) * 1000)
    return Figure("estimate_time", min(rounds), f"{min(rounds):.2f} ms", rounds=rounds)
