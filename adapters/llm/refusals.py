"""What a provider's refusal means: HTTP status, headers and error bodies to our error tree.

A refusal looks like `{"error": {"type": "rate_limit_error", "message": "..."}}`, in both wire
formats, with the wait in `retry-after-ms: 1500` or `retry-after: 2` (or an HTTP date). A header
`x-should-retry` wins over the status. Knows no HTTP client. Source: RFC 9110 10.2.3; both SDKs.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from adapters.llm.values import clean
from domain.errors import (
    MalformedReplyError,
    ModelAuthError,
    ModelRateLimitedError,
    ModelRequestError,
    ModelUnavailableError,
    OrchestratorError,
)
from domain.refusal import ProviderRefusal

_LONGEST_WAIT = timedelta(days=1)
"""A provider may not park a run for longer than this."""
_MAX_DETAIL = 300
"""Characters of a provider's own words that an error repeats."""
_MAX_READ = 64 * 1024
"""Characters of a message that are looked at."""
_SECRET = re.compile(r"\b(?:sk|pk|key)[-_][A-Za-z0-9*_\-.]{6,}|Bearer\s+\S{6,}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")
_RETRYABLE_STATUSES = frozenset({408, 409, 425})

_BY_WORD: tuple[tuple[str, type[OrchestratorError]], ...] = (
    ("insufficient_quota", ModelAuthError),
    ("billing", ModelAuthError),
    ("rate_limit", ModelRateLimitedError),
    ("authentication", ModelAuthError),
    ("permission", ModelAuthError),
    ("invalid_api_key", ModelAuthError),
    ("invalid_request", ModelRequestError),
    ("not_found", ModelRequestError),
    ("too_large", ModelRequestError),
    ("context_length", ModelRequestError),
)
"""Words in an error's `type` or `code`; the first that is found decides."""


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Return the wait a provider asks for, never negative and never over a day."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return _bounded(seconds)
    until = _date(value)
    if until is None:
        return None
    # The provider's own clock, where it tells: ours may be off.
    now = _date(headers.get("date")) or datetime.now(UTC)
    return _bounded((until - now).total_seconds())


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(value: str | None) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(value) if value else None
    except (ValueError, OverflowError):
        return None
    if parsed is None or parsed.tzinfo is not None:
        return parsed
    return parsed.replace(tzinfo=UTC)


def _bounded(seconds: float) -> timedelta:
    return timedelta(seconds=min(max(seconds, 0.0), _LONGEST_WAIT.total_seconds()))


def redact(text: str, secrets: tuple[str, ...]) -> str:
    """Return `text` as one short printable line without credentials."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    text = _SECRET.sub("[redacted]", text)
    text = " ".join(_UNPRINTABLE.sub(" ", clean(text)).split())
    return text if len(text) <= _MAX_DETAIL else text[:_MAX_DETAIL] + "..."


def status_error(
    provider: str, status: int, headers: Mapping[str, str], body: bytes, secrets: tuple[str, ...]
) -> OrchestratorError:
    """Return the error for an answer that is not a stream."""
    error = _error_object(body)
    words = _words(error)
    detail = redact(_message(error, body), secrets)
    request_id = headers.get("x-request-id") or headers.get("request-id") or ""
    sentence = f"{provider} answered {status}"
    if request_id:
        sentence += f" (request {redact(request_id, secrets)[:80]})"
    if detail:
        sentence += f": {detail}"
    kind = _kind(status, headers.get("x-should-retry"), words)
    wait = retry_after(headers) if issubclass(kind, _WAITING) else None
    refused = kind(sentence, retry_after=wait)
    refused.refusal = _refusal(status, error, detail, secrets)
    return refused


def _refusal(
    status: int, error: Mapping[str, Any], detail: str, secrets: tuple[str, ...]
) -> ProviderRefusal:
    named = {
        key: redact(str(error[key])[:200], secrets)
        for key in ("type", "code", "param")
        if type(error.get(key)) in (str, int)
    }
    return ProviderRefusal(status, detail, **named)


_WAITING = (ModelRateLimitedError, ModelUnavailableError)


def _kind(status: int, should_retry: str | None, words: str) -> type[OrchestratorError]:
    if status in (401, 403):
        return ModelAuthError
    if should_retry == "true" and status != 429:
        return ModelUnavailableError
    if "insufficient_quota" in words:
        return ModelAuthError
    if should_retry == "false":
        return ModelRequestError
    if status == 429:
        return ModelRateLimitedError
    if status >= 500 or status in _RETRYABLE_STATUSES:
        return ModelUnavailableError
    return ModelRequestError if status >= 300 else MalformedReplyError


def stream_error(provider: str, error: object, secrets: tuple[str, ...]) -> OrchestratorError:
    """Return the error for an `error` object inside a stream; unknown kinds may be retried."""
    fields: dict[str, Any] = error if type(error) is dict else {"message": error}
    words = _words(fields)
    detail = redact(_message(fields, b""), secrets)
    named = redact(str(fields.get("type") or fields.get("code") or "error"), secrets)
    sentence = f"{provider} broke off its reply with {named}" + (f": {detail}" if detail else "")
    for word, kind in _BY_WORD:
        if word in words:
            return kind(sentence)
    code = fields.get("code")
    if type(code) is int and 400 <= code < 600:
        return _kind(code, None, words)(sentence)
    return ModelUnavailableError(sentence)


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return {}
    if type(value) is not dict:
        return {}
    error = value.get("error", value)
    return error if type(error) is dict else {"message": error}


def _words(error: Mapping[str, Any]) -> str:
    return " ".join(str(error[key]) for key in ("type", "code") if error.get(key))[:200].lower()


def _message(error: Mapping[str, Any], body: bytes) -> str:
    message = error.get("message")
    if type(message) is str and message:
        return message[:_MAX_READ]
    return body.decode("utf-8", "replace")
