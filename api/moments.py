"""Times that callers name: a moment, or so many seconds from now."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    AwareDatetime,
    Field,
    TypeAdapter,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from domain.errors import InvalidRequestError

YEAR_SECONDS = 31_536_000
Seconds = Annotated[float, Field(gt=0, le=YEAR_SECONDS, strict=True)]


def _in_utc(moment: datetime) -> datetime:
    """Refuse what no calendar in UTC has: the year 0, or 10000."""
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        sentence = "in UTC that time is not in the years 1 to 9999"
        raise PydanticCustomError("time_range", sentence) from error


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with its zone, that is also one in UTC."""

_SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)
_TIME: TypeAdapter[datetime] = TypeAdapter(Instant)


def _moment(value: object, _any: ValidatorFunctionWrapHandler) -> float | datetime:
    """Choose by what was sent: a number is never taken for a date, nor a text of digits."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _SECONDS.validate_python(value)
    if isinstance(value, datetime) or (isinstance(value, str) and "-" in value[1:]):
        return _TIME.validate_python(value)
    raise PydanticCustomError("moment", "send seconds from now, or a time with its zone")


def _time(value: object, _any: ValidatorFunctionWrapHandler) -> datetime:
    if isinstance(value, datetime) or (isinstance(value, str) and "-" in value[1:]):
        return _TIME.validate_python(value)
    raise PydanticCustomError("time", "send a time with its zone, as 2026-11-20T10:00:00Z")


Moment = Annotated[Seconds | AwareDatetime, WrapValidator(_moment)]
"""Seconds from now, or a time with its zone."""
Time = Annotated[AwareDatetime, WrapValidator(_time)]
"""A time with its zone."""


def ms_of(moment: float | datetime | None, now_ms: int) -> int | None:
    """Return a moment in milliseconds since the epoch."""
    if moment is None:
        return None
    if isinstance(moment, datetime):
        return int(moment.timestamp() * 1000)
    return now_ms + int(moment * 1000)


def start_ms(delay: float | None, at: datetime | None, now_ms: int) -> int | None:
    """Return when a run's work begins, None for at once.

    Raises:
        InvalidRequestError: both are named, or it is more than a year ahead.
    """
    if delay is not None and at is not None:
        raise InvalidRequestError("name start_delay or start_at, not both")
    start = ms_of(at if at is not None else delay or None, now_ms)
    if start is None or start <= now_ms:
        return None
    if start - now_ms > YEAR_SECONDS * 1000:
        raise InvalidRequestError("start_at is more than a year ahead")
    return start
