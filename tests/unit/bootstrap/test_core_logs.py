"""Lines of activities carry their run; the SDK's core logs like everybody else."""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import temporalio.runtime
from temporalio.testing import ActivityEnvironment

from bootstrap.logs.telemetry import configure_logging, forward_core_logs
from bootstrap.settings import Settings


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging(Settings(log_format="json"), stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def test_a_line_of_an_activity_carries_its_run_and_step(log: io.StringIO) -> None:
    def work() -> None:
        logging.getLogger("activities.chat").info("half done")

    ActivityEnvironment().run(work)

    line = json.loads(log.getvalue())
    assert line["message"] == "half done"
    assert line["run_id"].startswith("run_")
    assert line["step"] == "test"


@dataclass
class CoreLine:
    """A line as the SDK's core hands it over."""

    message: str
    level: int = logging.WARNING
    target: str = "temporal_sdk_core::worker"
    time: float = 1.5
    fields: dict[str, Any] = field(default_factory=lambda: {"attempt": 2})


class RecordedRuntime:
    """Keeps what a runtime would be made of, instead of starting its threads."""

    telemetry: Any = None

    def __init__(self, telemetry: Any) -> None:
        type(self).telemetry = telemetry

    @staticmethod
    def set_default(runtime: object, *, error_if_already_set: bool) -> None:
        assert isinstance(runtime, RecordedRuntime)
        assert not error_if_already_set


def test_what_the_core_says_is_a_line_of_the_log(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporalio.runtime, "Runtime", RecordedRuntime)
    forward_core_logs()

    RecordedRuntime.telemetry.logging.forwarding._on_logs([CoreLine("gRPC failed\nforged")])

    line = json.loads(log.getvalue())
    assert line["ts"] == "1970-01-01T00:00:01.500Z"
    assert (line["level"], line["logger"]) == ("warning", "temporalio.core")
    assert line["message"] == "gRPC failed\\u000aforged {'attempt': 2}"
    assert list(line) == ["ts", "level", "logger", "message"]
