"""What a log line holds: safe on every terminal, bounded, without secrets, with its run.

A line is a dict until a renderer makes text of it. Knows neither levels nor streams.
"""

import json
import logging
import math
import sys
import traceback
from collections.abc import Mapping, Set
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from api.printable import printable
from bootstrap.logs.redaction import Redactor

if TYPE_CHECKING:
    from structlog.typing import EventDict

    from bootstrap.logs.feed import MemoryLogFeed

MESSAGE_CHARS = 8000
FIELD_CHARS = 2000
_KEY_CHARS = 100
_TRACE_LINES = 60
"""Lines of a traceback that are shown: the last ones, which say where."""
_MOST_ITEMS = 40
_DEPTH = 4
"""Levels of nested values that are shown as such; what lies deeper is shown as text."""
_INDENT = "\n    "
"""Before each line of a traceback, so that none looks like a line of the log."""
_RENAMED = {"uvicorn.error": "uvicorn"}
_DROPPED = ("temporal_log", "temporal_activity", "temporal_workflow", "positional_args")
"""Whole objects that the SDK attaches to its records; their text is in the message already."""
_FIRST = ("ts", "level", "logger", "message")
"""The fields of every line; what a caller adds under one of these names is shown with a `_`."""


class LineCleaner:
    """A structlog processor that turns a record into a line fit to be shown."""

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact

    def __call__(self, _logger: object, _method: str, event: "EventDict") -> "EventDict":
        """Return `ts`, `level`, `logger`, `message`, the run, then what the caller added."""
        record: logging.LogRecord = event.pop("_record")
        event.pop("_from_structlog", None)
        trace = self._trace(event.pop("exc_info", None), event.pop("stack_info", None))
        line: EventDict = {
            "ts": _time(record.created),
            "level": record.levelname.lower(),
            "logger": _RENAMED.get(record.name, record.name),
            "message": self._text(str(event.pop("event", "")), MESSAGE_CHARS),
            **_engine_fields(),
        }
        for key, value in islice(event.items(), _MOST_ITEMS):
            if key not in _DROPPED:
                line[f"{key}_" if key in _FIRST else key] = self._value(value, _DEPTH)
        if trace:
            line["exception"] = trace
        return line

    def _text(self, text: str, most: int) -> str:
        # Secrets go first: a cut or an escape might leave half of one.
        return printable(self._redact(text), most)

    def _value(self, value: object, depth: int) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int | float):
            return _number(value)
        if isinstance(value, Mapping) and depth:
            pairs = islice(value.items(), _MOST_ITEMS)
            return {
                self._text(str(key), _KEY_CHARS): self._value(item, depth - 1)
                for key, item in pairs
            }
        if isinstance(value, list | tuple | Set) and depth:
            return [self._value(item, depth - 1) for item in islice(value, _MOST_ITEMS)]
        return self._text(str(value), FIELD_CHARS)

    def _trace(self, exc_info: object, stack: object) -> str:
        lines: list[str] = []
        if isinstance(exc_info, tuple) and exc_info[0] is not None:
            text = "".join(traceback.format_exception(*exc_info))
            lines += text.rstrip().split("\n")
        if isinstance(stack, str):
            lines += stack.rstrip().split("\n")
        shown = [self._text(line, FIELD_CHARS) for line in lines[-_TRACE_LINES:]]
        return _INDENT[1:] + _INDENT.join(shown) if shown else ""


class FeedTap:
    """A structlog processor that hands each line to whoever watches the feed."""

    def __init__(self, feed: "MemoryLogFeed") -> None:
        self._feed = feed

    def __call__(self, _logger: object, _method: str, event: "EventDict") -> "EventDict":
        """Publish the line and pass it on."""
        if self._feed.has_readers:
            from api.ports import LogLine  # noqa: PLC0415 - who reads the feed has it loaded

            at = datetime.fromisoformat(str(event["ts"]))
            self._feed.publish(
                LogLine(
                    at_ms=round(at.timestamp() * 1000),
                    level=str(event["level"]),
                    component=str(event["logger"]),
                    message=str(event["message"]),
                    fields={key: event[key] for key in event if key not in _FIRST},
                )
            )
        return event


def json_line(_logger: object, _method: str, event: "EventDict") -> str:
    """Return the line as JSON on one line."""
    return json.dumps(dict(event), ensure_ascii=False, separators=(",", ":"))


def _time(seconds: float) -> str:
    at = datetime.fromtimestamp(seconds, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _number(value: float) -> object:
    """Return a number that JSON can hold, else its text."""
    if isinstance(value, int):
        return value if value.bit_length() <= 64 else f"{value:#x}"[:_KEY_CHARS]
    return value if math.isfinite(value) else str(value)


def _engine_fields() -> dict[str, str]:
    """Return the run and step that the current task works for, if Temporal carries it."""
    activity = sys.modules.get("temporalio.activity")
    if activity is None:
        return {}
    from adapters.temporal import run_id_of  # noqa: PLC0415 - loaded where Temporal is

    if activity.in_activity():
        info = activity.info()
        if not info.workflow_id:
            return {"step": info.activity_id}
        return {"run_id": run_id_of(info.workflow_id), "step": info.activity_id}
    workflow = sys.modules.get("temporalio.workflow")
    if workflow is not None and workflow.in_workflow():
        return {"run_id": run_id_of(workflow.info().workflow_id)}
    return {}
