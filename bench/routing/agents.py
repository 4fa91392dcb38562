"""The choice of an agent by content: ten agents with cards, requests with one right agent each."""

import statistics
import time
from collections.abc import Callable, Sequence
from random import Random

from bench.bars import Figure
from bench.routing.cards import cards
from bench.routing.data import Recorded, Requests
from domain.choosing.asking import Ask, Candidate
from domain.choosing.choice import choose
from domain.choosing.criteria import Known
from domain.choosing.specialty import Specialty
from domain.choosing.words import read

SEEDS = range(5)
POINTS = (0, 100, 300, 1000, 3000)
"""Labelled requests after which is judged."""


def measure(recorded: Recorded) -> list[Figure]:
    """Return the accuracy before and after labels, and the time of a decision."""
    requests = recorded.requests
    curves = [_curve(requests, seed) for seed in SEEDS]
    means = [statistics.mean(points) for points in zip(*curves, strict=True)]
    spreads = [statistics.pstdev(points) for points in zip(*curves, strict=True)]
    shown = ", ".join(f"{at}: {mean:.3f}" for at, mean in zip(POINTS, means, strict=True))
    words, chance = _by_words(requests), 1 / len(cards())
    figures = [
        Figure(
            f"choice_{at}",
            means[POINTS.index(at)],
            f"{means[POINTS.index(at)]:.3f} +- {spreads[POINTS.index(at)]:.3f}",
            f"words {words:.3f}, chance {chance:.3f}" if at == 0 else "",
            [curve[POINTS.index(at)] for curve in curves],
            note=f"accuracy by labels: {shown}; {len(requests.judge)} requests judged"
            if at == 0
            else "",
        )
        for at in (0, 1000, 3000)
    ]
    return [*figures, *_times(requests)]


def _curve(requests: Requests, seed: int) -> list[float]:
    """Return the accuracy at each point, labels coming one at a time in a shuffled order."""
    order = list(requests.learn)
    Random(seed).shuffle(order)
    specialty, curve, learned = Specialty(cards()), [], 0
    for point in POINTS:
        for text, domain in order[learned:point]:
            specialty.learn(domain, text)
        learned = point
        curve.append(_accuracy(specialty, requests.judge))
    return curve


def _accuracy(specialty: Specialty, judged: Sequence[tuple[str, str]]) -> float:
    right = 0
    for text, domain in judged:
        scores = specialty.scores(read(text))
        right += max(scores, key=lambda agent_id: scores[agent_id]) == domain
    return right / len(judged)


def _by_words(requests: Requests) -> float:
    """Return the accuracy of the card that shares the most words."""
    held = {card.agent_id: set(read(card.text).words) for card in cards()}
    right = 0
    for text, domain in requests.judge:
        words = set(read(text).words)
        right += max(held, key=lambda agent_id: len(words & held[agent_id])) == domain
    return right / len(requests.judge)


def _times(requests: Requests) -> list[Figure]:
    """Return the CPU time per decision, by content and by all six criteria: best of rounds."""
    specialty = Specialty(cards())
    for text, domain in requests.learn[:3000]:
        specialty.learn(domain, text)
    candidates, known = [Candidate(card) for card in cards()], Known()
    texts = [text for text, _ in requests.judge[:500]]
    content = _best(lambda text: specialty.scores(read(text)), texts)
    whole = _best(lambda text: choose(Ask("run", text), candidates, specialty, known), texts)
    return [
        Figure("choice_time", content, f"{content:.3f} ms"),
        Figure("choice_time_all", whole, f"{whole:.3f} ms"),
    ]


def _best(decide: Callable[[str], object], texts: Sequence[str]) -> float:
    rounds = []
    for _ in range(7):
        started = time.process_time()
        for text in texts:
            decide(text)
        rounds.append((time.process_time() - started) / len(texts) * 1000)
    return min(rounds)
