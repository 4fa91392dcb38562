"""Checked values out of a provider's JSON. Knows JSON's traps, not any vendor's fields."""

import json
from typing import Any

from domain.errors import MalformedReplyError

_MAX_TOKENS = 2**31 - 1
"""More tokens than this in one call is not a count; also what a 32-bit column holds."""


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODE = json.JSONDecoder(parse_constant=_refuse_constant).decode


def decode_object(provider: str, data: str) -> dict[str, Any]:
    """Return the JSON object in `data`; NaN and Infinity are refused.

    Raises:
        MalformedReplyError: not JSON, nested too deeply, or not an object.
    """
    try:
        value = _DECODE(data)
    except (ValueError, RecursionError) as error:
        raise MalformedReplyError(f"{provider} sent an event that is not valid JSON") from error
    if type(value) is not dict:
        raise malformed(provider, "event")
    return value


def malformed(provider: str, part: str) -> MalformedReplyError:
    """Return the error for a `part` of a reply that has the wrong type or form."""
    return MalformedReplyError(f"{provider} sent a malformed {part}")


def as_object(provider: str, value: object, part: str) -> dict[str, Any]:
    """Return `value` if it is an object, an empty one for null."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise malformed(provider, part)
    return value


def as_text(provider: str, value: object, part: str) -> str:
    """Return `value` if it is a string, an empty one for null."""
    if value is None:
        return ""
    if type(value) is not str:
        raise malformed(provider, part)
    return value


def as_count(provider: str, value: object, part: str) -> int:
    """Return `value` if it is a whole number of tokens, 0 for null."""
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value <= _MAX_TOKENS:
        raise malformed(provider, part)
    return value


def clean(text: str) -> str:
    r"""Return `text` as valid UTF-8 without NULs: split surrogate pairs are joined or replaced.

    JSON can spell both (`\ud800`, `\u0000`); neither a store nor a viewer can hold them.
    """
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def ends_in_half_pair(text: str) -> bool:
    """Tell whether the last character is the first half of a surrogate pair."""
    return bool(text) and "\ud800" <= text[-1] <= "\udbff"
