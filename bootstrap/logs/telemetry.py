"""The log of a process: structlog over the standard library, one line per record on stderr.

Every line carries the run it belongs to, holds no secret, and cannot forge another line or steer a
terminal. Knows who logs only by name.
"""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, TextIO

from bootstrap.logs.feed import MemoryLogFeed
from bootstrap.logs.lines import FeedTap, LineCleaner, json_line
from bootstrap.logs.redaction import Redactor, secrets_of
from bootstrap.terminal import has_colour

if TYPE_CHECKING:
    from structlog.typing import Processor

    from bootstrap.settings import Settings

_QUIET = (
    # Each request, each migration step, each connection at INFO: not news to anybody.
    *("httpx2", "httpcore2", "httpx", "httpcore", "openai", "anthropic"),
    *("alembic", "sqlalchemy", "asyncio", "uvicorn.access", "uvicorn.error"),
)
"""Loggers that are heard from WARNING on, whatever the level."""

_FEED = MemoryLogFeed()


def log_feed() -> MemoryLogFeed:
    """Return the feed of this process, which `/v1/logs/stream` reads."""
    return _FEED


@contextlib.contextmanager
def log_context(**fields: str) -> Iterator[None]:
    """Add fields such as `run_id` and `session_id` to every line that is logged inside.

    Lines of an activity or a workflow carry their `run_id` without this.
    """
    with _structlog().contextvars.bound_contextvars(**fields):
        yield


def configure_logging(settings: "Settings", stream: TextIO | None = None) -> None:
    """Send every log line of this process to `stream` (stderr) as the settings say."""
    style = settings.log_format
    stream = stream or sys.stderr
    as_json = style == "json" or (style == "auto" and not stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(stream, as_json, Redactor(secrets_of(settings))))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # As `logging.captureWarnings` does, but the place is a field and the message one sentence.
    warnings.showwarning = _log_warning
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the signature is the standard library's
    line: str | None = None,  # noqa: ARG001
) -> None:
    """Log what a library warns of like everything else."""
    where = {"category": category.__name__, "where": f"{filename}:{lineno}"}
    logging.getLogger("py.warnings").warning("%s", message, extra=where)


def forward_core_logs() -> None:
    """Send what the Temporal SDK's core has to say into the log; by itself it writes to stdout.

    Has to run before the first client is made.
    """
    from temporalio.runtime import (  # noqa: PLC0415 - 0.6 s, and not every process needs it
        LogForwardingConfig,
        LoggingConfig,
        Runtime,
        TelemetryConfig,
        TelemetryFilter,
    )

    forwarding = LogForwardingConfig(
        logger=logging.getLogger("temporalio.core"),
        append_target_to_name=False,
        prepend_target_on_message=False,
    )
    heard = TelemetryFilter(core_level="WARN", other_level="ERROR")
    telemetry = TelemetryConfig(logging=LoggingConfig(filter=heard, forwarding=forwarding))
    Runtime.set_default(Runtime(telemetry=telemetry), error_if_already_set=False)


def _formatter(stream: TextIO, as_json: bool, redact: Redactor) -> logging.Formatter:
    structlog = _structlog()
    shared = [structlog.contextvars.merge_contextvars, structlog.stdlib.ExtraAdder()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    console = structlog.dev.ConsoleRenderer(
        colors=has_colour(stream),
        event_key="message",
        timestamp_key="ts",
        pad_event_to=0,
        exception_formatter=structlog.dev.plain_traceback,
    )
    processors: list[Processor] = [
        LineCleaner(redact),
        FeedTap(_FEED),
        json_line if as_json else console,
    ]
    formatter: logging.Formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=processors, use_get_message=True
    )
    return formatter


def _structlog() -> ModuleType:
    """Import structlog without rich, which it takes for tracebacks we do not want so: 0.1 s."""
    if "structlog" in sys.modules or "rich" in sys.modules:
        import structlog  # noqa: PLC0415

        return structlog
    hidden: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    hidden["rich"] = None
    try:
        import structlog  # noqa: PLC0415 - 0.04 s that `--help` does without
    finally:
        del hidden["rich"]
    return structlog
