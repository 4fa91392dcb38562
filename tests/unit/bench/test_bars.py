import math

import pytest

from bench.__main__ import MEASURES, main
from bench.bars import BARS, BY_NAME, Bar, Better, Figure, Verdict
from bench.report import table


@pytest.mark.parametrize(
    ("value", "verdict"), [(1.0, Verdict.AIM), (1.4, Verdict.MUST), (1.7, Verdict.FAIL)]
)
def test_a_ratio_that_should_be_low_is_judged_by_must_then_aim(
    value: float, verdict: Verdict
) -> None:
    assert Bar("x", "", "x", 1.6, 1.25).judge(value) is verdict


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.9, Verdict.AIM), (0.7, Verdict.MUST), (0.5, Verdict.FAIL)]
)
def test_a_rate_should_be_high(value: float, verdict: Verdict) -> None:
    assert Bar("x", "", "x", 0.6, 0.85, Better.HIGH).judge(value) is verdict


def test_an_exact_bar_takes_nothing_else() -> None:
    bar = Bar("x", "", "events", 12, None, Better.EXACT)

    assert [bar.judge(value) for value in (11, 12, 13)] == ["FAIL", "aim", "FAIL"]


def test_an_aim_without_a_must_is_never_a_failure() -> None:
    bar = Bar("x", "", "ms", None, 50.0)

    assert [bar.judge(value) for value in (40, 60, math.nan)] == ["aim", "short", "short"]


def test_what_could_not_be_measured_fails_its_must() -> None:
    assert Bar("x", "", "x", 1.6).judge(math.nan) is Verdict.FAIL


def test_a_bar_without_bounds_only_informs() -> None:
    assert Bar("x", "", "x").judge(7) is Verdict.INFO


def test_every_bar_has_a_measure_and_every_measure_a_bar() -> None:
    measured = {name for _, names in MEASURES for name in names}

    assert measured == {bar.name for bar in BARS}


def test_the_table_shows_figure_bounds_and_verdict() -> None:
    shown = table([Figure("first_token", 1.41, "9 ms", "6 ms", note="p95 11 ms")])

    assert "first_token  1.41x" in shown
    assert "<= 1.6" in shown
    assert shown.endswith("first_token: p95 11 ms")


def test_list_names_every_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0

    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == set(BY_NAME)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit, match="nonsense"):
        main(["--only", "nonsense"])
