"""Which error a refusal becomes, and what it may repeat."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from adapters.llm.refusals import redact, retry_after, status_error, stream_error
from domain.errors import (
    MalformedReplyError,
    ModelAuthError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelUnavailableError,
    OrchestratorError,
)

KEY = "canary-0123456789"


def refuse(status: int, body: bytes = b"", **headers: str) -> OrchestratorError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_error("openai", status, named, body, (KEY,))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (204, MalformedReplyError),
        (307, ModelRequestError),
        (400, ModelRequestError),
        (401, ModelAuthError),
        (403, ModelAuthError),
        (404, ModelRequestError),
        (408, ModelUnavailableError),
        (409, ModelUnavailableError),
        (422, ModelRequestError),
        (429, ModelRateLimitedError),
        (500, ModelUnavailableError),
        (503, ModelUnavailableError),
        (529, ModelUnavailableError),
    ],
)
def test_a_status_says_whether_a_retry_may_help(status: int, kind: type[OrchestratorError]) -> None:
    assert type(refuse(status)) is kind


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [
        (500, "false", ModelRequestError),
        (429, "false", ModelRequestError),
        (400, "true", ModelUnavailableError),
        (429, "true", ModelRateLimitedError),
        (401, "true", ModelAuthError),
    ],
)
def test_x_should_retry_wins_over_the_status_but_not_over_a_refused_key(
    status: int, word: str, kind: type[OrchestratorError]
) -> None:
    assert type(refuse(status, x_should_retry=word)) is kind


def test_a_used_up_quota_is_no_rate_limit() -> None:
    body = b'{"error": {"message": "no money", "code": "insufficient_quota"}}'

    assert type(refuse(429, body)) is ModelAuthError


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "99999999"}, 86_400),
        (
            {
                "retry-after": "Fri, 20 Nov 2026 10:00:07 GMT",
                "date": "Fri, 20 Nov 2026 10:00:00 GMT",
            },
            7,
        ),
        ({"retry-after": "Fri, 20 Nov 2020 10:00:07 GMT"}, 0),
        ({"retry-after": "Fri, 20 Nov 2020 10:00:07 -0000"}, 0),
    ],
)
def test_the_wait_is_read_in_every_form(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "soon", "nan", "inf", "Fri, 99 Nov 2026", "0x10"])
def test_a_wait_that_cannot_be_read_is_none(value: str) -> None:
    assert retry_after({"retry-after": value}) is None


def test_a_date_without_the_providers_clock_is_read_against_ours() -> None:
    until = datetime.now(UTC) + timedelta(seconds=60)

    wait = retry_after({"retry-after": format_datetime(until, usegmt=True)})

    assert wait is not None
    assert 50 < wait.total_seconds() <= 60


def test_only_errors_that_may_be_retried_carry_a_wait() -> None:
    assert refuse(429, retry_after="2").retry_after == timedelta(seconds=2)
    assert refuse(503, retry_after="2").retry_after == timedelta(seconds=2)
    assert refuse(400, retry_after="2").retry_after is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "slow down"}}',
        b'{"type": "error", "error": {"message": "slow down"}}',
        b'{"error": "slow down"}',
        b'{"message": "slow down"}',
        b"slow\ndown",
    ],
)
def test_the_providers_words_are_repeated_on_one_line(body: bytes) -> None:
    error = refuse(429, body, x_request_id="req_7")

    assert error.message == "openai answered 429 (request req_7): slow down"


@pytest.mark.parametrize(
    "body", [b"", b"[" * 5000, b"7", b"\xff\xfe", b'{"error": {"message": 7}}']
)
def test_any_body_becomes_an_error(body: bytes) -> None:
    assert refuse(500, body).message.startswith("openai answered 500")


def test_credentials_control_characters_and_length_are_cut_from_what_is_repeated() -> None:
    text = f"key {KEY} sk-live-abcdef123 Bearer abc.def.ghi \x1b[31m\u202e" + "y" * 999

    said = redact(text, (KEY,))

    assert said.startswith("key [redacted] [redacted] [redacted] [31m yyy")
    assert len(said) == 303


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "overloaded_error"}, ModelUnavailableError),
        ({"type": "rate_limit_error"}, ModelRateLimitedError),
        ({"type": "invalid_request_error"}, ModelRequestError),
        ({"type": "authentication_error"}, ModelAuthError),
        ({"code": "context_length_exceeded"}, ModelRequestError),
        ({"code": 429}, ModelRateLimitedError),
        ({"code": 502}, ModelUnavailableError),
        ({"code": True}, ModelUnavailableError),
        ("boom", ModelUnavailableError),
        (None, ModelUnavailableError),
        ([1], ModelUnavailableError),
    ],
)
def test_an_error_inside_a_stream_is_told_by_its_words(
    error: object, kind: type[OrchestratorError]
) -> None:
    assert type(stream_error("openai", error, (KEY,))) is kind


def test_an_error_inside_a_stream_never_repeats_the_key() -> None:
    error = stream_error("openai", {"type": KEY, "message": f"bad {KEY}"}, (KEY,))

    assert error.message == "openai broke off its reply with [redacted]: bad [redacted]"
