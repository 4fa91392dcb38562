"""The routing bench: what its measures mean, and that it runs without recorded data."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.routing import sample
from bench.routing.__main__ import main
from bench.routing.boosting import Columns, Settings, grow
from bench.routing.cards import cards
from bench.routing.data import VARIABLE
from bench.routing.gap import apgr, calls_for, recovered
from domain.routing.trees import walk

GAINS = [1] * 20 + [0] * 70 + [-1] * 10


def test_a_perfect_ranking_recovers_more_than_the_gap_and_the_reverse_less_than_nothing() -> None:
    right = [(float(gain), gain) for gain in GAINS]
    wrong = [(-float(gain), gain) for gain in GAINS]

    assert max(recovered(right)) == pytest.approx(2.0)
    assert apgr(right) > 1.0
    assert min(recovered(wrong)) < 0
    assert calls_for(0.8, right) == pytest.approx(0.08)


def test_equal_scores_are_chance() -> None:
    assert apgr([(0.0, gain) for gain in GAINS]) == pytest.approx(0.5)


@given(st.integers(0, 10**6))
def test_a_ranking_and_its_reverse_are_chance_together(seed: int) -> None:
    chance = Random(seed)
    scored = [(chance.random(), gain) for gain in GAINS]

    both = apgr(scored) + apgr([(-score, gain) for score, gain in scored])

    assert both == pytest.approx(1.0)


def test_trees_learn_a_step_and_leave_noise_alone() -> None:
    chance = Random(1)
    rows = [(chance.random(), chance.random()) for _ in range(600)]
    target = [float(row[0] > 0.6) for row in rows]

    settings = Settings(trees=20, rate=0.3, share_of_features=1.0)
    base, trees = grow(Columns.of(rows), range(len(rows)), target, settings)

    parts = [0.0, 0.0]
    said = [base + sum(walk(tree, row, parts) for tree in trees) for row in rows]
    right = sum((each > 0) == bool(wanted) for each, wanted in zip(said, target, strict=True))
    assert right > 0.97 * len(rows)
    assert abs(parts[0]) > 10 * abs(parts[1])
    assert grow(Columns.of(rows), range(len(rows)), target, settings) == (base, trees)


def test_the_sample_is_the_same_every_time() -> None:
    assert sample.outcomes() == sample.outcomes()
    assert sample.requests() == sample.requests()
    assert {domain for _, domain in sample.requests()[0]} <= {card.agent_id for card in cards()}


def test_without_recorded_data_the_bench_says_so_and_judges_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable is taken away, for whoever runs the tests may have set it."""
    monkeypatch.delenv(VARIABLE, raising=False)

    assert main(["--splits", "1"]) == 0

    said = capsys.readouterr().out
    assert "small generated sample" in said
    assert "nothing is judged" in said
