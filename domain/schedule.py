"""A schedule: which run, when, and what when the last one still goes on. Values only.

A firing is one time of a schedule: at most one run, whatever is retried, reset or caught up.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from domain import cron
from domain.cron import Moments
from domain.run import RunState

CATCHUP_SECONDS = 600
"""How late a run may still start, unless the schedule says so itself."""
SHOWN_FIRINGS = 10
MOST_BACKFILLED = 1000
"""Times of one span: a slip of the pen must not start a million runs."""
_MOST = 20
_DAY_SECONDS = 24 * 3600
_YEAR_SECONDS = 366 * _DAY_SECONDS

ScheduleId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]


class Overlap(StrEnum):
    """What becomes of a time that comes while the run of an earlier one still goes on."""

    SKIP = "skip"
    """Nothing is started."""
    BUFFER_ONE = "buffer_one"
    """One waits for its end; more are dropped."""
    BUFFER_ALL = "buffer_all"
    """Each waits for its turn."""
    CANCEL_OTHER = "cancel_other"
    """The earlier run is cancelled; the new one starts once it has ended."""
    TERMINATE_OTHER = "terminate_other"
    """The earlier run is cancelled; the new one does not wait for that."""
    ALLOW_ALL = "allow_all"
    """They run side by side."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Part):
    """Every so many seconds, counted from the epoch, plus an offset."""

    every_seconds: Annotated[int, Field(ge=1, le=_YEAR_SECONDS, strict=True)]
    offset_seconds: Annotated[int, Field(ge=0, le=_YEAR_SECONDS, strict=True)] = 0

    @model_validator(mode="after")
    def _is_within(self) -> "Interval":
        if self.offset_seconds >= self.every_seconds:
            raise PydanticCustomError("interval_offset", "the offset is not below the interval")
        return self


_Text = Annotated[str, Field(min_length=1, max_length=200)]
_STORED = {"stored": True}
"""Context of what comes from the store: rules that came later must not make it unreadable."""


class Calendar(_Part):
    """Times that match every field; each is written as a field of crontab: `9-17`, `*/15`."""

    second: _Text = "0"
    minute: _Text = "0"
    hour: _Text = "0"
    day_of_month: _Text = "*"
    month: _Text = "*"
    year: _Text = "*"
    day_of_week: _Text = "*"
    comment: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _can_be_read(self, info: ValidationInfo) -> "Calendar":
        _sentence(self.moments, info)
        return self

    def moments(self) -> Moments:
        """Return the times that are meant.

        Raises:
            ValueError: a field cannot be read.
        """
        return cron.check_comes(
            Moments(
                cron.parse_field(self.second, cron.SECOND),
                cron.parse_field(self.minute, cron.MINUTE),
                cron.parse_field(self.hour, cron.HOUR),
                cron.parse_field(self.day_of_month, cron.DAY_OF_MONTH),
                cron.parse_field(self.month, cron.MONTH),
                () if self.year.strip() == "*" else cron.parse_field(self.year, cron.YEAR),
                cron.parse_field(self.day_of_week, cron.DAY_OF_WEEK),
                self.comment,
            )
        )


class SkippedCalendar(Calendar):
    """Times that are left out: what is not named is anything, so a day alone is the whole day."""

    second: _Text = "*"
    minute: _Text = "*"
    hour: _Text = "*"


def _sentence(parse: Callable[[], object], info: ValidationInfo) -> None:
    """Parse what a caller sent; whatever cannot be read is said in a sentence."""
    if info.context == _STORED:
        return
    try:
        parse()
    except ValueError as error:
        raise PydanticCustomError("schedule_time", "{said}", {"said": str(error)}) from error


def _readable(line: str, info: ValidationInfo) -> str:
    _sentence(lambda: cron.parse_cron(line), info)
    return line


def _within(moment: datetime, info: ValidationInfo) -> datetime:
    low, high = cron.YEAR.low, cron.YEAR.high
    if info.context != _STORED and not low <= moment.year <= high:
        sentence = "a schedule lies in the years {low} to {high}; leave it out for no bound"
        raise PydanticCustomError("schedule_year", sentence, {"low": low, "high": high})
    return moment


_CronLine = Annotated[_Text, AfterValidator(_readable)]
Bound = Annotated[AwareDatetime, AfterValidator(_within)]
"""A time in a year that the engine knows."""


class ScheduleSpec(_Part):
    """When: any time that one of the lists names, less those of `skip`."""

    cron: Annotated[tuple[_CronLine, ...], Field(max_length=_MOST)] = ()
    intervals: Annotated[tuple[Interval, ...], Field(max_length=_MOST)] = ()
    calendars: Annotated[tuple[Calendar, ...], Field(max_length=_MOST)] = ()
    skip: Annotated[tuple[SkippedCalendar, ...], Field(max_length=_MOST)] = ()
    timezone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_+/-]{1,64}$")] = "UTC"
    jitter_seconds: Annotated[int, Field(ge=0, le=86_400, strict=True)] = 0
    """A random delay of each time, at most this long."""
    start_at: Bound | None = None
    end_at: Bound | None = None

    @model_validator(mode="after")
    def _has_times(self) -> "ScheduleSpec":
        if not (self.cron or self.intervals or self.calendars):
            sentence = "name at least one of cron, intervals and calendars"
            raise PydanticCustomError("schedule_empty", sentence)
        if self.start_at and self.end_at and self.end_at <= self.start_at:
            raise PydanticCustomError("schedule_end", "end_at is not after start_at")
        return self

    @classmethod
    def from_store(cls, text: str) -> "ScheduleSpec":
        """Return a spec as it was kept, whatever has been forbidden since."""
        return cls.model_validate_json(text, context=_STORED)

    def moments(self) -> tuple[Moments, ...]:
        """Return the times of `cron` and `calendars`.

        Raises:
            ValueError: an old spec holds what cannot be read any more.
        """
        lines = [found for line in self.cron for found in cron.parse_cron(line)]
        return (*lines, *(calendar.moments() for calendar in self.calendars))


class SchedulePolicy(_Part):
    """What happens when runs overlap, when times were missed, and when a run fails."""

    overlap: Overlap = Overlap.SKIP
    catchup_window_seconds: Annotated[int, Field(ge=10, le=_YEAR_SECONDS, strict=True)] = (
        CATCHUP_SECONDS
    )
    """A time that was missed is made up for if it is not longer ago than this."""
    pause_on_failure: Annotated[bool, Field(strict=True)] = False


class Schedule(BaseModel):
    """A schedule on record. `run` is the start body as it was sent, `ask` what it stands for."""

    model_config = ConfigDict(frozen=True)

    uid: str
    """Unlike `schedule_id` never used again; what the engine and firings know it by."""
    schedule_id: str
    owner: str
    run: str
    ask: str
    spec: ScheduleSpec
    policy: SchedulePolicy
    paused: bool
    note: str
    revision: int
    applied_revision: int
    """What the engine was told last."""
    deleted: bool
    created_by: str
    created_at: int
    updated_at: int

    @property
    def is_applied(self) -> bool:
        """Whether the engine knows the schedule as it stands here."""
        return self.applied_revision == self.revision


class Firing(BaseModel):
    """One time of a schedule, and what became of it. `state` is its run's; times in ms."""

    model_config = ConfigDict(frozen=True)

    firing_id: str
    uid: str
    schedule_id: str
    owner: str
    scheduled_at: int
    run_id: str | None
    state: RunState | None
    error_code: str | None
    error_message: str | None
    created_at: int
    ended_at: int | None
    """When its end was taken note of."""


def firing_of(workflow_id: str) -> str:
    """Return the id of the firing that a workflow of the engine stands for."""
    return f"fire_{workflow_id.removeprefix('fire-')}"


def workflow_of(firing_id: str) -> str:
    """Return the workflow of a firing."""
    return f"fire-{firing_id.removeprefix('fire_')}"


def run_of(firing_id: str, scheduled_at: int) -> str:
    """Return the run of a firing: the same whoever asks, and sortable by time as other runs."""
    alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
    digest = hashlib.sha256(firing_id.encode()).digest()
    value = (scheduled_at << 80) | int.from_bytes(digest[:10], "big")
    letters = [alphabet[(value >> shift) & 31] for shift in range(125, -1, -5)]
    return f"run_{''.join(letters)}"


def most_times(spec: ScheduleSpec, start_ms: int, end_ms: int) -> int:
    """Return how many times a span may hold: a bound, which calendar days only make smaller."""
    seconds = (end_ms - start_ms) // 1000
    days = seconds // _DAY_SECONDS + 2
    times = sum(seconds // one.every_seconds + 1 for one in spec.intervals)
    for one in spec.moments():
        a_day = 1
        for part in (one.second, one.minute, one.hour):
            a_day *= len(cron.numbers(part))
        times += min(a_day * days, seconds + 1)
    return times


def to_ms(moment: datetime) -> int:
    """Return a moment as milliseconds since the epoch."""
    return int(moment.timestamp() * 1000)


def to_iso(ms: int) -> str:
    """Return a time as ISO-8601 in UTC with milliseconds, `2026-11-20T10:00:00.000Z`."""
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return f"{text[:-6]}Z"
