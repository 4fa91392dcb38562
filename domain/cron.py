"""Times that repeat: cron expressions and calendars as ranges of numbers. Knows no clock.

Fields are those of crontab(5): numbers, names, `a-b`, lists, `*`, and steps `/n`. Days of the week
count from 0 or 7, Sunday.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Range(NamedTuple):
    """From `start` to `end`, both included, in steps."""

    start: int
    end: int
    step: int = 1


Ranges = tuple[Range, ...]


class Moments(NamedTuple):
    """Times that match every field. `year` empty means any year."""

    second: Ranges
    minute: Ranges
    hour: Ranges
    day_of_month: Ranges
    month: Ranges
    year: Ranges
    day_of_week: Ranges
    comment: str | None = None


class FieldRule(NamedTuple):
    """What a field may hold."""

    name: str
    low: int
    high: int
    words: Mapping[str, int]


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

SECOND = FieldRule("second", 0, 59, {})
MINUTE = FieldRule("minute", 0, 59, {})
HOUR = FieldRule("hour", 0, 23, {})
DAY_OF_MONTH = FieldRule("day_of_month", 1, 31, {})
MONTH = FieldRule("month", 1, 12, {name: at for at, name in enumerate(_MONTHS, 1)})
YEAR = FieldRule("year", 2000, 2100, {})
"""Temporal knows no times outside these years."""
DAY_OF_WEEK = FieldRule("day_of_week", 0, 7, {name: at for at, name in enumerate(_DAYS)})

_CRON_FIELDS = (MINUTE, HOUR, DAY_OF_MONTH, MONTH, DAY_OF_WEEK)
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_PART = re.compile(r"(\*|\?|[a-z0-9]{1,9})(?:-([a-z0-9]{1,9}))?(?:/([0-9]{1,4}))?")
_ANY = ("*", "?")


def parse_field(text: str, rule: FieldRule) -> Ranges:
    """Return the numbers that a field stands for.

    Raises:
        ValueError: it cannot be read, or a number is out of range.
    """
    found: list[Range] = []
    for part in text.strip().lower().split(","):
        found += _parse_part(part.strip(), rule)
    return tuple(found)


def _parse_part(part: str, rule: FieldRule) -> list[Range]:
    match = _PART.fullmatch(part)
    if match is None:
        raise ValueError(f"{rule.name} {part!r} is not *, a number, a-b, a list or one with /step")
    first, last, step_text = match.groups()
    step = int(step_text or 1)
    if step < 1:
        raise ValueError(f"{rule.name} {part!r} has a step of 0")
    if first in _ANY:
        if last is not None:
            raise ValueError(f"{rule.name} {part!r} has no beginning")
        return [Range(rule.low, 6 if rule is DAY_OF_WEEK else rule.high, step)]
    start = _number(first, rule)
    is_open = last is None and step_text is not None
    end = rule.high if is_open else start if last is None else _number(last, rule)
    if is_open and rule is DAY_OF_WEEK:
        end = 6
    if end < start:
        raise ValueError(f"{rule.name} {part!r} ends before it begins")
    return _from_sunday(start, end, step) if rule is DAY_OF_WEEK else [Range(start, end, step)]


def _from_sunday(start: int, end: int, step: int) -> list[Range]:
    """Return days of the week with Sunday as 0 only."""
    if end < len(_DAYS):
        return [Range(start, end, step)]
    days = sorted({day % 7 for day in range(start, end + 1, step)})
    return [Range(day, day) for day in days]


def _number(text: str, rule: FieldRule) -> int:
    if text in rule.words:
        return rule.words[text]
    if not text.isdecimal() or not rule.low <= int(text) <= rule.high:
        named = f" or {next(iter(rule.words))}..." if rule.words else ""
        raise ValueError(f"{rule.name} {text!r} is not {rule.low} to {rule.high}{named}")
    return int(text)


def parse_cron(text: str) -> tuple[Moments, ...]:
    """Return what a cron expression of five fields, or a macro as `@daily`, stands for.

    Where both days are restricted, a time that matches either is meant: then there are two.

    Raises:
        ValueError: it cannot be read, or never comes.
    """
    words = _MACROS.get(text.strip().lower(), text).split()
    if len(words) != len(_CRON_FIELDS):
        hint = "; use an interval instead" if text.startswith("@every") else ""
        raise ValueError(
            f"a cron expression has five fields (minute hour day month weekday), this has"
            f" {len(words)}{hint}"
        )
    pairs = zip(words, _CRON_FIELDS, strict=True)
    minute, hour, day, month, weekday = (parse_field(word, rule) for word, rule in pairs)
    every_day, every_weekday = (parse_field("*", rule) for rule in (DAY_OF_MONTH, DAY_OF_WEEK))
    base = Moments((Range(0, 0),), minute, hour, day, month, (), weekday, text)
    if words[2].startswith(_ANY) or words[4].startswith(_ANY):
        return (check_comes(base),)
    by_day = base._replace(day_of_week=every_weekday)
    by_weekday = base._replace(day_of_month=every_day)
    return (check_comes(by_day), by_weekday)


def check_comes(moments: Moments) -> Moments:
    """Return `moments` if their day exists in one of their months.

    Raises:
        ValueError: it never comes, as the 30th of February.
    """
    first = min(part.start for part in moments.day_of_month)
    months = numbers(moments.month)
    if first > max(_LONGEST[month - 1] for month in months):
        raise ValueError(f"day {first} never comes in the months {sorted(months)}")
    return moments


def numbers(ranges: Sequence[Range]) -> set[int]:
    """Return every number of some ranges."""
    return {n for part in ranges for n in range(part.start, part.end + 1, part.step)}
