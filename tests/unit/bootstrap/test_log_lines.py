"""Attack 30: whatever is logged, every line stays one line, harmless, bounded, without secrets."""

import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from bootstrap.logs import telemetry
from bootstrap.logs.lines import FIELD_CHARS, MESSAGE_CHARS
from bootstrap.logs.telemetry import configure_logging, log_context, log_feed
from bootstrap.settings import Settings

CORPUS = [
    'x\r\n{"ts":"2026-01-01T00:00:00.000Z","level":"error","message":"forged"}',
    "x\nforged line",
    "x\rforged line",
    "x\u2028forged\u2029line\x85line\x0bline\x0cline",
    "\x1b[2J\x1b[31mred\x1b[0m \x9b31m",
    "\x1b]0;title\x07 \x1b]8;;http://evil\x07link",
    "file\u202etxt.exe \u2066hidden\u2069 \u200eleft",
    "nul\x00 bell\x07 back\x08\x08 del\x7f",
    "lone \ud800 surrogate",
]
STEERING = set("".join(chr(at) for at in [*range(32), *range(127, 160)])) | set(
    "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"
)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the root logger as it was."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    shown = warnings.showwarning
    yield
    warnings.showwarning = shown
    root.handlers[:], _ = before
    root.setLevel(before[1])


def configured(style: str = "json", **settings: Any) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(Settings.model_validate({"log_format": style, **settings}), stream)
    return stream


def log_failure(message: str) -> None:
    try:
        int(message)
    except ValueError:
        logging.getLogger("x").exception("failed")


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]


@pytest.mark.parametrize("text", CORPUS)
def test_a_json_line_parses_and_holds_nothing_that_steers(text: str) -> None:
    stream = configured()

    logging.getLogger("x").error("said %s", text, extra={"field": text, "deep": {text: [text]}})

    written = stream.getvalue()
    assert written.count("\n") == 1
    assert not STEERING & set(written.rstrip("\n"))
    written.encode()
    assert len(lines(stream)) == 1


@pytest.mark.parametrize("text", CORPUS)
def test_a_console_line_stays_one_line(text: str) -> None:
    stream = configured("console")

    logging.getLogger("x").error("said %s", text, extra={"field": text})

    assert stream.getvalue().count("\n") == 1
    assert not STEERING & set(stream.getvalue().rstrip("\n"))


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_traceback_cannot_look_like_a_line_of_the_log(style: str) -> None:
    stream = configured(style)

    log_failure('bad\n2026-01-01T00:00:00.000Z [error] {"forged": 1}')

    later = stream.getvalue().rstrip("\n").split("\n")[1:]
    assert all(line.startswith("    ") for line in later)
    assert style == "console" or not later


def test_a_line_says_when_how_bad_who_and_what() -> None:
    stream = configured()

    logging.getLogger("adapters.store").warning("full", extra={"free_bytes": 0})

    (line,) = lines(stream)
    assert list(line) == ["ts", "level", "logger", "message", "free_bytes"]
    assert line["level"] == "warning"
    assert line["logger"] == "adapters.store"
    assert line["ts"].endswith("Z")


def test_fields_cannot_replace_what_every_line_says() -> None:
    stream = configured()

    logging.getLogger("x").error("real", extra={"level": "debug", "ts": "never"})

    (line,) = lines(stream)
    assert (line["level"], line["level_"], line["ts_"]) == ("error", "debug", "never")


def test_long_values_are_cut() -> None:
    stream = configured()

    big = {str(at): "y" * FIELD_CHARS for at in range(100)}
    logging.getLogger("x").error("m" * 100_000, extra={"long": "f" * 100_000, "big": big})

    (line,) = lines(stream)
    assert len(line["message"]) <= MESSAGE_CHARS + 3
    assert len(line["long"]) <= FIELD_CHARS + 3
    assert len(line["big"]) == 40


def test_deep_and_odd_values_become_text() -> None:
    stream = configured()

    nested: Any = "end"
    for _ in range(50):
        nested = [nested]
    odd = {"nan": float("nan"), "big": 10**5000, "set": {1}, "none": None, "object": object}
    logging.getLogger("x").error("odd", extra={"nested": nested, **odd})

    (line,) = lines(stream)
    assert line["nan"] == "nan"
    assert line["big"].startswith("0x")
    assert line["set"] == [1]
    assert line["none"] is None
    assert "class 'object'" in line["object"]


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_secret_of_the_settings_never_appears(style: str) -> None:
    """Not in a message, a field, a key, an exception, nor cut in half by a length cap."""
    secret = "sk-very-secret"
    stream = configured(style, openai_api_key=secret)

    log = logging.getLogger("x")
    log.error("%s", secret, extra={"field": {secret: secret}})
    log.error("%s%s", "x" * (MESSAGE_CHARS - 5), secret)
    log_failure(secret)

    assert "sk-very" not in stream.getvalue()
    assert "***" in stream.getvalue()


def test_a_line_carries_its_run() -> None:
    stream = configured()

    with log_context(run_id="run_1", session_id="sess_1"):
        logging.getLogger("x").info("inside")
    logging.getLogger("x").info("outside")

    inside, outside = lines(stream)
    assert (inside["run_id"], inside["session_id"]) == ("run_1", "sess_1")
    assert "run_id" not in outside


def test_loggers_of_structlog_write_the_same_lines() -> None:
    stream = configured()

    structlog.get_logger("native").warning("said", run_id="run_1")

    (line,) = lines(stream)
    assert (line["logger"], line["message"], line["run_id"]) == ("native", "said", "run_1")


def test_requests_of_libraries_are_no_news() -> None:
    stream = configured(log_level="debug")

    logging.getLogger("httpx2").info("HTTP Request: GET ...")
    logging.getLogger("httpx2").warning("odd")
    logging.getLogger("ours").debug("detail")

    assert [line["message"] for line in lines(stream)] == ["odd", "detail"]


def test_a_level_can_be_spelt_as_seed_b_does() -> None:
    stream = configured(log_level="WARN")

    logging.getLogger("x").info("no")
    logging.getLogger("x").warning("yes")

    assert [line["message"] for line in lines(stream)] == ["yes"]


def test_auto_is_json_where_nobody_watches() -> None:
    assert lines_of_auto(io.StringIO()).startswith("{")


def lines_of_auto(stream: io.StringIO) -> str:
    configure_logging(Settings(log_format="auto"), stream)
    logging.getLogger("x").info("hello")
    return stream.getvalue()


async def test_the_feed_gets_the_same_clean_lines() -> None:
    configured(openai_api_key="sk-very-secret")
    reader = log_feed().subscribe()

    logging.getLogger("x").error("a\nb sk-very-secret", extra={"run_id": "run_1"})

    line = await anext(reader)
    assert (line.level, line.component, line.message) == ("error", "x", "a\\u000ab ***")
    assert line.fields == {"run_id": "run_1"}


def test_structlog_is_loaded_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would cost every start 0.1 s; afterwards rich can be imported as ever."""
    saved = {name: sys.modules[name] for name in list(sys.modules) if is_of(name)}
    for name in saved:
        monkeypatch.delitem(sys.modules, name)

    telemetry._structlog()

    assert not any(name == "rich" or name.startswith("rich.") for name in sys.modules)
    for name in [name for name in sys.modules if is_of(name)]:
        monkeypatch.delitem(sys.modules, name)


def is_of(name: str) -> bool:
    return name.partition(".")[0] in ("structlog", "rich")


def test_a_librarys_warning_is_a_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    stream = configured()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("Cannot find activity to cancel\nfor b'x'", UserWarning, stacklevel=1)

    [line] = lines(stream)
    assert line["message"] == "Cannot find activity to cancel\\u000afor b'x'"
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert line["category"] == "UserWarning"
    assert __file__ in line["where"]
    assert capsys.readouterr().err == ""
