"""Which times a schedule names: how many lie in a span, and whether one is to come at all.

The engine fires; this says beforehand what it will find, so that a mistake is refused at once. Time
zones come from the caller, who can look them up.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import islice
from typing import NamedTuple

from domain.cron import YEAR, Moments, numbers
from domain.errors import InvalidRequestError
from domain.schedule import MOST_BACKFILLED, ScheduleSpec, most_times

_MOST_LOOKS = 100_000
"""Days and times that are looked at for one question; it takes a few tenths of a second."""
_DAY = timedelta(days=1)
_FIRST = int(datetime(YEAR.low, 1, 1, tzinfo=UTC).timestamp())
_LAST = int(datetime(YEAR.high, 12, 31, tzinfo=UTC).timestamp())


class _TooFarError(Exception):
    """So much was looked at that the rest does not matter."""


class _Fields(NamedTuple):
    """The times of one calendar, as sets."""

    second: frozenset[int]
    minute: frozenset[int]
    hour: frozenset[int]
    day_of_month: frozenset[int]
    month: frozenset[int]
    year: frozenset[int]
    day_of_week: frozenset[int]

    def has_day(self, day: date) -> bool:
        return (
            day.day in self.day_of_month
            and day.month in self.month
            and day.isoweekday() % 7 in self.day_of_week
            and (not self.year or day.year in self.year)
        )

    def has_time(self, moment: datetime) -> bool:
        return (
            moment.hour in self.hour
            and moment.minute in self.minute
            and moment.second in self.second
        )

    @property
    def is_whole_day(self) -> bool:
        return (len(self.hour), len(self.minute), len(self.second)) == (24, 60, 60)


def _fields(moments: Moments) -> _Fields:
    return _Fields(*(frozenset(numbers(part)) for part in moments[:7]))


@dataclass(slots=True)
class _Look:
    """A walk through the days of a span, in seconds since the epoch; both ends are included."""

    spec: ScheduleSpec
    zone: tzinfo
    start: int
    end: int
    left: int = _MOST_LOOKS

    def times(self) -> Iterator[int]:
        """Yield each time once, day by day.

        Raises:
            _TooFarError: it took too many looks.
        """
        found = [_fields(one) for one in self.spec.moments()]
        skipped = [_fields(one.moments()) for one in self.spec.skip]
        day, last = self._days(found)
        while day <= last:
            self._spend(1 + len(found) + len(skipped))
            leaves_out = [one for one in skipped if one.has_day(day)]
            if not any(one.is_whole_day for one in leaves_out):
                calendars = [one for one in found if one.has_day(day)]
                seen: set[int] = set()
                for second in self._of_day(day, calendars):
                    if second not in seen and not self._is_left_out(second, leaves_out):
                        seen.add(second)
                        yield second
            day += _DAY

    def _days(self, found: list[_Fields]) -> tuple[date, date]:
        """Return the first and the last day that may hold a time."""
        first, last = (
            datetime.fromtimestamp(second, self.zone).date() for second in (self.start, self.end)
        )
        if not self.spec.intervals and all(one.year for one in found):
            years = sorted(year for one in found for year in one.year if year >= first.year)
            if not years:
                return first, first - _DAY
            first = max(first, date(years[0], 1, 1))
            last = min(last, date(years[-1], 12, 31))
        return first, last

    def _of_day(self, day: date, calendars: list[_Fields]) -> Iterator[int]:
        for one in calendars:
            yield from self._of_calendar(day, one)
        if self.spec.intervals:
            begin = max(self.start, self._midnight(day))
            end = min(self.end, self._midnight(day + _DAY) - 1)
            for interval in self.spec.intervals:
                every, offset = interval.every_seconds, interval.offset_seconds
                first = -(-(begin - offset) // every) * every + offset
                yield from range(first, end + 1, every)

    def _of_calendar(self, day: date, one: _Fields) -> Iterator[int]:
        clock = (
            datetime(day.year, day.month, day.day, hour, minute, second)  # noqa: DTZ001 - local
            for hour in sorted(one.hour)
            for minute in sorted(one.minute)
            for second in sorted(one.second)
        )
        for local in clock:
            # Of a time that comes twice the second counts; one that does not exist does not come.
            found = int(local.replace(tzinfo=self.zone, fold=1).timestamp())
            self._spend(1)
            exists = datetime.fromtimestamp(found, self.zone).replace(tzinfo=None) == local
            if exists and self.start <= found <= self.end:
                yield found

    def _midnight(self, day: date) -> int:
        return int(datetime(day.year, day.month, day.day, tzinfo=self.zone).timestamp())

    def _is_left_out(self, second: int, leaves_out: list[_Fields]) -> bool:
        if not leaves_out:
            return False
        self._spend(1)
        local = datetime.fromtimestamp(second, self.zone)
        return any(one.has_time(local) for one in leaves_out)

    def _spend(self, looks: int) -> None:
        self.left -= looks
        if self.left < 0:
            raise _TooFarError


def _look(spec: ScheduleSpec, zone: tzinfo, start: int, end: int) -> _Look:
    """Return a walk through a span as far as the spec reaches."""
    lowest = int(spec.start_at.timestamp()) if spec.start_at else _FIRST
    highest = int(spec.end_at.timestamp()) if spec.end_at else _LAST
    return _Look(spec, zone, max(start, lowest, _FIRST), min(end, highest, _LAST))


def count_times(spec: ScheduleSpec, zone: tzinfo, span_ms: tuple[int, int]) -> int:
    """Return how many times of a schedule lie in a span, both ends included.

    Raises:
        InvalidRequestError: more than may be made up for at once; or an old spec is not valid any
            more.
    """
    look = _look(spec, zone, -(-span_ms[0] // 1000), span_ms[1] // 1000)
    try:
        times = len(list(islice(look.times(), MOST_BACKFILLED + 1)))
    except _TooFarError:
        times = MOST_BACKFILLED + 1
    except ValueError as error:
        raise InvalidRequestError(f"change the spec first: {error}") from error
    if times > MOST_BACKFILLED:
        raise InvalidRequestError(
            f"that span may hold {most_times(spec, *span_ms)} times; at most {MOST_BACKFILLED} are"
            " made up for at once: name shorter spans"
        )
    return times


def check_fires(spec: ScheduleSpec, zone: tzinfo, now_ms: int, *, paused: bool) -> None:
    """Refuse a schedule of which no time is to come.

    One that is paused may be over: its past may still be made up for. One whose `skip` leaves
    nothing is refused always: the engine would search through every second until the year 2100.

    Raises:
        InvalidRequestError: says why.
    """
    if _fires(spec, zone, now_ms):
        return
    if spec.skip and _fires(spec.model_copy(update={"skip": ()}), zone, now_ms):
        raise InvalidRequestError("this schedule would never fire: skip leaves out every time")
    if not paused:
        raise InvalidRequestError(
            "this schedule would never fire: no time of it is to come; make it paused if only its"
            " past is wanted"
        )


def _fires(spec: ScheduleSpec, zone: tzinfo, now_ms: int) -> bool:
    try:
        return next(_look(spec, zone, now_ms // 1000 + 1, _LAST).times(), None) is not None
    except _TooFarError:
        return False
