"""Which times a schedule names: how many lie in a span, and whether one is to come."""

from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from domain.errors import InvalidRequestError
from domain.schedule import ScheduleSpec, to_iso
from domain.times import check_fires, count_times

BERLIN = ZoneInfo("Europe/Berlin")
NOW = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp() * 1000)
DAILY: dict[str, Any] = {"cron": ["0 7 * * *"]}
SECONDS: dict[str, Any] = {"intervals": [{"every_seconds": 1}]}


def spec(**fields: Any) -> ScheduleSpec:
    return ScheduleSpec.model_validate(fields)


def count(start: str, end: str, *, zone: tzinfo = UTC, **fields: Any) -> int:
    span = [int(datetime.fromisoformat(text).timestamp() * 1000) for text in (start, end)]
    return count_times(spec(**fields), zone, (span[0], span[1]))


@pytest.mark.parametrize(
    ("fields", "times"),
    [
        ({"intervals": [{"every_seconds": 300}]}, 73),
        ({"intervals": [{"every_seconds": 3600, "offset_seconds": 60}]}, 6),
        ({"cron": ["0 * * * *"]}, 7),
        ({"cron": ["0 * * * *", "*/30 * * * *"]}, 13),
        ({"cron": ["0 * * * *"], "skip": [{"hour": "2"}]}, 6),
        ({"cron": ["0 * * * *"], "skip": [{"day_of_week": "fri"}]}, 0),
        ({"cron": ["0 * * * *"], "start_at": "2026-11-20T03:00:00Z"}, 4),
        ({"cron": ["0 * * * *"], "end_at": "2026-11-20T03:00:00Z"}, 4),
        ({"calendars": [{"hour": "3", "day_of_week": "fri"}]}, 1),
        ({"calendars": [{"hour": "3", "day_of_week": "sat"}]}, 0),
    ],
)
def test_both_ends_of_a_span_count_and_a_time_counts_once(
    fields: dict[str, Any], times: int
) -> None:
    assert count("2026-11-20T00:00:00Z", "2026-11-20T06:00:00Z", **fields) == times


def test_local_times_count_as_the_engine_fires_them() -> None:
    """2:30 does not exist on 28 March 2027, and comes twice on 31 October: once, the second."""
    nightly: dict[str, Any] = {"cron": ["30 2 * * *"]}

    assert count("2027-03-28T00:00:00Z", "2027-03-28T12:00:00Z", zone=BERLIN, **nightly) == 0
    assert count("2027-10-31T00:00:00Z", "2027-10-31T01:00:00Z", zone=BERLIN, **nightly) == 0
    assert count("2027-10-31T01:00:00Z", "2027-10-31T02:00:00Z", zone=BERLIN, **nightly) == 1


@pytest.mark.parametrize(
    "fields",
    [
        SECONDS,
        {"cron": ["* * * * *"]},
        {**SECONDS, "skip": [{"second": "0-58"}, {"second": "59"}]},
    ],
)
def test_a_span_of_too_many_times_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="at most 1000"):
        count("2026-01-01T00:00:00Z", "2026-11-01T00:00:00Z", **fields)


def test_few_times_in_many_years_are_no_slip_of_the_pen() -> None:
    yearly: dict[str, Any] = {"cron": ["@yearly"]}

    assert count("2000-01-01T00:00:00Z", "2026-11-01T00:00:00Z", **yearly) == 27


def test_an_old_spec_that_is_not_valid_any_more_says_so() -> None:
    old = ScheduleSpec.from_store('{"calendars": [{"year": "2150"}]}')

    with pytest.raises(InvalidRequestError, match="2150"):
        count_times(old, UTC, (0, 1))


@pytest.mark.parametrize(
    "fields",
    [
        DAILY,
        {"calendars": [{"year": "2026-2100", "month": "12"}]},
        {"calendars": [{"year": "2001"}, {"year": "2099"}]},
        {"calendars": [{"year": "2001"}], "intervals": [{"every_seconds": 60}]},
        {"cron": ["0 0 29 2 *"]},
        {**DAILY, "start_at": "2099-01-01T00:00:00Z"},
        {**DAILY, "end_at": "2026-11-21T08:00:00Z"},
        {**SECONDS, "skip": [{"day_of_week": "sat,sun"}, {"hour": "0-11,13-23"}]},
    ],
)
def test_a_schedule_with_a_time_to_come_is_taken(fields: dict[str, Any]) -> None:
    check_fires(spec(**fields), UTC, NOW, paused=False)


@pytest.mark.parametrize(
    "fields",
    [
        {**DAILY, "end_at": "2026-11-20T11:00:00Z"},
        {**DAILY, "end_at": "2026-11-21T06:00:00Z"},
        {"calendars": [{"year": "2001"}]},
        {"calendars": [{"year": "2027"}], "end_at": "2026-12-31T00:00:00Z"},
    ],
)
def test_what_would_never_fire_is_taken_only_if_it_is_paused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="would never fire"):
        check_fires(spec(**fields), UTC, NOW, paused=False)

    check_fires(spec(**fields), UTC, NOW, paused=True)


@pytest.mark.parametrize(
    "skip",
    [
        [{}],
        [{"day_of_week": "0-3"}, {"day_of_week": "4-6"}],
        [{"second": "*"}],
        [{"second": "0-58"}, {"second": "59"}],
    ],
)
@pytest.mark.parametrize("paused", [True, False])
def test_a_skip_that_leaves_nothing_is_refused_always(skip: list[Any], paused: bool) -> None:
    with pytest.raises(InvalidRequestError, match="skip leaves out every time"):
        check_fires(spec(**SECONDS, skip=skip), UTC, NOW, paused=paused)


def test_a_day_alone_skips_the_whole_day() -> None:
    """Of what is skipped everything is left out that is not named; of a calendar it is 0."""
    weekend = spec(**DAILY, skip=[{"day_of_week": "sat,sun"}], calendars=[{"day_of_week": "mon"}])

    assert (weekend.skip[0].hour, weekend.skip[0].minute, weekend.skip[0].second) == ("*",) * 3
    assert (weekend.calendars[0].hour, weekend.calendars[0].second) == ("0", "0")
    assert count("2026-11-20T00:00:00Z", "2026-11-23T23:00:00Z", **DAILY, skip=weekend.skip) == 2


def test_what_was_skipped_before_is_read_as_it_was_meant() -> None:
    kept = '{"cron": ["@daily"], "skip": [{"hour": "0", "minute": "0", "second": "0"}]}'

    assert ScheduleSpec.from_store(kept).skip[0].hour == "0"


@pytest.mark.parametrize(
    "bound",
    [
        {"start_at": "0001-01-01T00:00:00+14:00"},
        {"end_at": "9999-12-31T23:59:59-14:00"},
        {"start_at": "1999-12-31T23:59:59Z"},
        {"end_at": "2101-01-01T00:00:00Z"},
    ],
)
def test_bounds_lie_in_the_years_that_the_engine_knows(bound: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="2000 to 2100"):
        spec(**DAILY, **bound)

    (text,) = bound.values()
    kept = ScheduleSpec.from_store(f'{{"cron": ["@daily"], "{next(iter(bound))}": "{text}"}}')
    assert kept.cron == ("@daily",)


def test_years_past_the_engines_last_are_refused() -> None:
    with pytest.raises(ValidationError, match="2000 to 2100"):
        spec(calendars=[{"year": "2101"}])


def test_a_cron_line_with_a_mistake_is_named_by_its_place() -> None:
    with pytest.raises(ValidationError) as caught:
        spec(cron=["@daily", "61 * * * *"])

    (mistake,) = caught.value.errors()
    assert mistake["loc"] == ("cron", 1)
    assert "minute '61'" in mistake["msg"]


def test_a_time_is_written_as_the_api_writes_it() -> None:
    assert to_iso(NOW + 41) == "2026-11-20T12:00:00.041Z"
