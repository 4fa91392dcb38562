"""Codes of answers that no error of `domain/errors.py` stands behind, for the page of errors."""

CODES: dict[str, tuple[int, str]] = {
    "bad_request": (400, "The request cannot be taken apart."),
    "malformed_request": (400, "The request breaks the rules of HTTP; `errors` says where."),
    "malformed_json": (400, "The body is not JSON, or not such that all readers agree on it."),
    "invalid_header": (400, "A header does not have the form that it needs."),
    "invalid_last_event_id": (400, "`Last-Event-ID` is no `id` of this stream."),
    "conflicting_credentials": (400, "Two headers name different keys."),
    "conflicting_keys": (400, "Header and body hold different idempotency keys."),
    "foreign_origin": (403, "A browser's page of another origin asks."),
    "method_not_allowed": (
        405,
        "The path does not take this method; `Allow` names its methods.",
    ),
    "request_timeout": (408, "The headers, or the body, did not arrive in time."),
    "run_cancelled": (409, "The run behind a completion of `agent:<id>` was cancelled."),
    "unsupported_media_type": (415, "The body is not `application/json`, or is compressed."),
    "unknown_host": (421, "`Host` is none that this server is known by."),
    "headers_too_large": (431, "The headers, or the URL, are longer or more than are read."),
    "cancelled": (502, "The run behind `/api/chat` was cancelled."),
    "text_changed": (502, "An agent's answer is no longer the one whose beginning was sent."),
    "run_not_done": (504, "The run behind a completion goes on; its events say when it is done."),
    "still_running": (504, "The run behind `/api/chat` goes on; its answer will be there."),
}
"""The status that each comes with, and what it means."""
