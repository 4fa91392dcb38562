"""When schedules fire: cron and calendars as ranges, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.cron import (
    DAY_OF_MONTH,
    DAY_OF_WEEK,
    HOUR,
    MINUTE,
    MONTH,
    Moments,
    numbers,
    parse_cron,
    parse_field,
)
from domain.schedule import (
    Overlap,
    SchedulePolicy,
    ScheduleSpec,
    firing_of,
    most_times,
    run_of,
    workflow_of,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("*", set(range(60))),
        ("7", {7}),
        ("1-5", {1, 2, 3, 4, 5}),
        ("*/15", {0, 15, 30, 45}),
        ("50/5", {50, 55}),
        ("0-30/10,59", {0, 10, 20, 30, 59}),
        (" 1 , 2 ", {1, 2}),
    ],
)
def test_a_field_is_read_as_crontab_does(text: str, found: set[int]) -> None:
    assert numbers(parse_field(text, MINUTE)) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("*", set(range(7))),
        ("7", {0}),
        ("0", {0}),
        ("mon-fri", {1, 2, 3, 4, 5}),
        ("FRI-7", {5, 6, 0}),
        ("*/2", {0, 2, 4, 6}),
        ("1/2", {1, 3, 5}),
        ("?", set(range(7))),
    ],
)
def test_sunday_is_0_and_7(text: str, found: set[int]) -> None:
    assert numbers(parse_field(text, DAY_OF_WEEK)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "-1",
        "5-1",
        "1-",
        "a",
        "*/0",
        "1,,2",
        "*-3",
        "1.5",
        "1 2",
        "mon",
        "\u0661",
        "9" * 99,
    ],
)
def test_a_field_with_a_mistake_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="minute"):
        parse_field(text, MINUTE)


def matches(cron: str, moment: datetime) -> bool:
    return any(_fits(one, moment) for one in parse_cron(cron))


def _fits(one: Moments, moment: datetime) -> bool:
    return (
        moment.minute in numbers(one.minute)
        and moment.hour in numbers(one.hour)
        and moment.day in numbers(one.day_of_month)
        and moment.month in numbers(one.month)
        and moment.isoweekday() % 7 in numbers(one.day_of_week)
    )


def test_two_restricted_days_mean_either() -> None:
    """crontab(5): `0 0 13 * 5` is every 13th and every Friday."""
    days = [datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=n) for n in range(30)]

    found = [day.day for day in days if matches("0 0 13,24 * fri", day)]

    assert found == [6, 13, 20, 24, 27]


def test_a_star_with_a_step_restricts_no_day() -> None:
    (one,) = parse_cron("0 0 */2 * fri")

    assert numbers(one.day_of_week) == {5}
    assert 1 in numbers(one.day_of_month)


@pytest.mark.parametrize(
    ("macro", "line"),
    [("@daily", "0 0 * * *"), ("@hourly", "0 * * * *"), ("@WEEKLY", "0 0 * * 0")],
)
def test_macros_stand_for_lines(macro: str, line: str) -> None:
    (short,), (long,) = parse_cron(macro), parse_cron(line)

    assert short._replace(comment=None) == long._replace(comment=None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@every 5m", "interval"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("0 25 * * *", "hour"),
    ],
)
def test_a_line_with_a_mistake_says_what_is_wrong(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_cron(line)


def test_a_day_that_comes_in_leap_years_comes() -> None:
    assert parse_cron("0 0 29 2 *")


@given(st.text(max_size=40))
def test_no_text_is_more_than_refused(text: str) -> None:
    for rule in (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK):
        try:
            found = parse_field(text, rule)
        except ValueError:
            continue
        assert numbers(found) <= set(range(rule.low, rule.high + 1))


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"cron": ["* * * *"]},
        {"cron": ["* * * * *"] * 21},
        {"intervals": [{"every_seconds": 0}]},
        {"intervals": [{"every_seconds": 1.5}]},
        {"intervals": [{"every_seconds": 60, "offset_seconds": 60}]},
        {"calendars": [{"hour": "24"}]},
        {"calendars": [{"day_of_month": "31", "month": "2"}]},
        {"calendars": [{"hours": "9"}]},
        {"cron": ["@daily"], "jitter_seconds": -1},
        {"cron": ["@daily"], "timezone": "../../etc/passwd"},
        {"cron": ["@daily"], "start_at": "2026-01-01T00:00:00"},
        {"cron": ["@daily"], "start_at": "2026-01-02T00:00:00Z", "end_at": "2026-01-01T00:00:00Z"},
        {"skip": [{"hour": "9"}]},
    ],
)
def test_a_spec_with_a_mistake_is_refused(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ScheduleSpec.model_validate(spec)


def test_a_calendar_says_what_a_cron_line_says() -> None:
    spec = ScheduleSpec.model_validate(
        {
            "cron": ["30 7 * * mon-fri"],
            "calendars": [{"minute": "30", "hour": "7", "day_of_week": "mon-fri"}],
        }
    )

    line, calendar = spec.moments()

    assert line._replace(comment=None) == calendar


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        ({"intervals": [{"every_seconds": 3600}]}, 25),
        ({"cron": ["0 7 * * mon"]}, 3),
        ({"cron": ["0 7 * * *"], "intervals": [{"every_seconds": 43_200}]}, 6),
        ({"calendars": [{"second": "*", "minute": "*", "hour": "*"}]}, 86_401),
    ],
)
def test_the_times_of_a_day_are_bounded(spec: dict[str, Any], most: int) -> None:
    assert most_times(ScheduleSpec.model_validate(spec), 0, 86_400_000) == most


def test_policies_are_never_left_to_the_engine() -> None:
    policy = SchedulePolicy()

    assert (policy.overlap, policy.catchup_window_seconds) == (Overlap.SKIP, 600)
    assert not policy.pause_on_failure
    with pytest.raises(ValidationError):
        SchedulePolicy(catchup_window_seconds=9)


def test_the_run_of_a_firing_is_always_the_same() -> None:
    first = run_of("fire_x-2026-11-21T04:00:00Z", 1_795_233_600_000)

    assert first == run_of("fire_x-2026-11-21T04:00:00Z", 1_795_233_600_000)
    assert first != run_of("fire_y-2026-11-21T04:00:00Z", 1_795_233_600_000)
    assert first < run_of("fire_x-2026-11-21T04:00:01Z", 1_795_233_601_000)
    assert len(first) == len("run_") + 26
    assert firing_of(workflow_of("fire_x-1")) == "fire_x-1"
