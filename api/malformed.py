"""Requests that are no HTTP, or too much of it: answers from below the app, in the API's shapes."""

import logging
import secrets
from http import HTTPStatus

import httptools

from api.edge import DEFAULT_HEADERS, FIXED_HEADERS
from api.errors import Problem, respond
from api.printable import printable

_LOG = logging.getLogger("api.requests")
_PLACES = (
    ("method", "method"),
    ("url", "target"),
    ("content-length", "headers.content-length"),
    ("transfer-encoding", "headers.transfer-encoding"),
    ("chunk", "body"),
    ("header", "headers"),
)
"""By a word of what the parser says: the part of the request it speaks of."""
_ELSEWHERE = "request"


def problem_of_parser(error: BaseException | None) -> Problem:
    """Return the answer to a request that the parser refused with `error`."""
    said = str(error or "it is no HTTP request")
    if isinstance(error, httptools.HttpParserCallbackError):
        # Of ours, only the target is taken apart while the parser reads.
        said = "Invalid url"
    place = next((where for word, where in _PLACES if word in said.lower()), _ELSEWHERE)
    detail = f"the request is not HTTP/1.1 as it should be: {said}"
    return Problem(400, "malformed_request", detail, ({"field": place, "message": said},))


def last_words(problem: Problem, target: bytes) -> bytes:
    """Return a whole answer, after which the connection is closed; it is logged by its id."""
    request_id = f"req_{secrets.token_hex(13)}"
    path = target.decode("latin-1").partition("?")[0]
    answer = respond(problem, path, request_id)
    _LOG.info(
        "refused %s: %d %s",
        printable(path) or "a request",
        problem.status,
        printable(problem.detail),
        extra={"request_id": request_id},
    )
    headers = [
        *answer.raw_headers,
        *FIXED_HEADERS,
        *DEFAULT_HEADERS,
        (b"x-request-id", request_id.encode()),
        (b"connection", b"close"),
    ]
    lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode()]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + bytes(answer.body)
