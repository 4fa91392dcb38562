"""A tool's result as text that a model reads and the store keeps."""

from pydantic_core import PydanticSerializationError, to_json

DEFAULT_MAX_RESULT_BYTES = 1 << 20
"""A longer result is cut, and says so."""


class UnusableResultError(Exception):
    """The tool ran, but what it returned cannot be written as JSON."""


def encode_result(value: object, max_bytes: int) -> str:
    """Return text as it is and anything else as JSON, cut at `max_bytes` of UTF-8.

    Raises:
        UnusableResultError: `value` holds something that JSON cannot.
    """
    if isinstance(value, str):
        encoded = value.replace("\0", "\ufffd").encode("utf-8", errors="replace")
    else:
        try:
            encoded = to_json(value, inf_nan_mode="strings", bytes_mode="base64")
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            kind = type(value).__name__
            raise UnusableResultError(f"its result ({kind}) is not JSON: {error}") from error
    if len(encoded) <= max_bytes:
        return encoded.decode()
    kept = encoded[:max_bytes].decode(errors="ignore")
    return f"{kept}\n[cut: result_too_large, {len(encoded)} bytes; the limit is {max_bytes}]"
