"""The `time` tool: what time it is, anywhere, and arithmetic on times. Source: seed C."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from adapters.tools.decorator import FunctionTool, tool
from domain.errors import ToolFailedError

_DIRECTIVES = re.compile(r"(?:[^%]|%[aAbBcdfHIjmMpSUwWxXyYzZGuV%])*")
"""Python's directives without flags and widths: `%999999999d` would fill the memory."""
_UNIT = re.compile(r"(\d+(?:\.\d+)?)(ms|w|d|h|m|s)")
_DURATION = re.compile(rf"([+-]?)((?:{_UNIT.pattern})+)")
_SECONDS = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}


def system_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def time_tool(now: Callable[[], datetime] = system_now) -> FunctionTool:
    """Return the `time` tool over a clock."""

    @tool(name="time", blocking=False)
    def time(
        action: Literal["current", "timezone", "format", "add_duration", "unix"] = "current",
        timezone: Annotated[str, Field(max_length=64)] = "UTC",
        time: Annotated[str, Field(max_length=64)] | None = None,
        format_: Annotated[str, Field(max_length=100)] | None = None,
        duration: Annotated[str, Field(max_length=50)] | None = None,
    ) -> dict[str, str | int]:
        """Tell the time, convert it to a time zone, format it, or add a duration to it.

        Args:
            action: current (now), timezone (convert), format, add_duration, or unix (seconds since
                1970).
            timezone: IANA name such as "Europe/Berlin", for the answer and for a time without one.
            time: ISO 8601, for example "2026-03-01T12:00:00+01:00"; now when it is missing.
            format_: strftime directives, for example "%A, %d %B %Y"; for action format.
            duration: For example "1h30m", "-2d" or "45s"; for action add_duration.
        """
        zone = _zone(timezone)
        moment = _moment(time, zone) if time is not None else now().astimezone(zone)
        if action == "format":
            return {"formatted": _formatted(moment, format_), "timezone": timezone}
        if action == "unix":
            return {"unix": int(moment.timestamp())}
        if action == "add_duration":
            moment = _later(moment, duration, zone)
        return {
            "iso": moment.isoformat(timespec="seconds"),
            "timezone": timezone,
            "weekday": moment.strftime("%A"),
            "unix": int(moment.timestamp()),
        }

    return time


def _zone(name: str) -> tzinfo:
    try:
        # UTC must work even where no time zone database is installed.
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ToolFailedError(f"{name!r} is not an IANA time zone such as Europe/Berlin") from error


def _moment(text: str, zone: tzinfo) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(zone) if moment.tzinfo else moment.replace(tzinfo=zone)
    except (ValueError, OverflowError) as error:
        raise ToolFailedError(f"{text!r} is not an ISO 8601 time") from error


def _formatted(moment: datetime, directives: str | None) -> str:
    if not directives or not _DIRECTIVES.fullmatch(directives):
        raise ToolFailedError('format needs strftime directives such as "%Y-%m-%d %H:%M"')
    return moment.strftime(directives)


def _later(moment: datetime, duration: str | None, zone: tzinfo) -> datetime:
    """Add real elapsed time: an hour is an hour also when the clocks change."""
    match = _DURATION.fullmatch(duration or "")
    if match is None:
        raise ToolFailedError('add_duration needs a duration such as "1h30m" or "-2d"')
    seconds = sum(float(n) * _SECONDS[unit] for n, unit in _UNIT.findall(match[2]))
    try:
        step = timedelta(seconds=-seconds if match[1] == "-" else seconds)
        return (moment.astimezone(UTC) + step).astimezone(zone)
    except OverflowError as error:
        raise ToolFailedError("the result is outside the years 1 to 9999") from error
