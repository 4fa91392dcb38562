"""Exceptions as answers: the handlers that the app installs."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api.edge import request_id_of
from api.errors import (
    COMPLETIONS,
    Problem,
    RefusedError,
    openai_problem,
    problem_of,
    respond,
)
from api.methods import allowed
from domain.errors import InvalidRequestError, OrchestratorError

CODES = {404: "not_found", 405: "method_not_allowed"}
"""Of what the framework refuses; else `bad_request`."""
_MOST_SHOWN = 50
"""Wrong fields that are named; a body can have very many."""
_WORDS = {
    "tuple_type": "send a list",
    "list_type": "send a list",
    "model_type": "send an object",
    "model_attributes_type": "send an object",
    "dict_type": "send an object",
}
"""What is said for kinds of mistakes that the validator would name by its own types."""


def install(app: FastAPI) -> None:
    """Answer every failure in the shape of its path."""
    app.add_exception_handler(OrchestratorError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)


def _answer(request: Request, problem: Problem) -> Response:
    return respond(problem, request.scope["path"], request_id_of(request.scope))


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, OrchestratorError)
    is_openai = request.scope["path"].startswith(COMPLETIONS)
    return _answer(request, openai_problem(error) if is_openai else problem_of(error))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    where = tuple(
        {"field": ".".join(str(part) for part in item["loc"]), "message": _said(item)}
        for item in error.errors()[:_MOST_SHOWN]
    )
    detail = "the request breaks the rules of its schema"
    return _answer(request, Problem(422, InvalidRequestError.code, detail, where))


def _said(item: Mapping[str, Any]) -> str:
    """Return a sentence about one mistake, in words of JSON."""
    kind, bounds = item["type"], item.get("ctx", {})
    if kind == "too_long":
        return f"send at most {bounds['max_length']} items"
    if kind == "too_short":
        return f"send at least {bounds['min_length']} items"
    return _WORDS.get(kind) or str(item["msg"])


async def _framework(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, RefusedError):
        return _answer(request, error.problem)
    code = CODES.get(error.status_code, "bad_request")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers = {"allow": ", ".join(allowed(request.scope))}
    return _answer(request, Problem(error.status_code, code, _detail(request, error), (), headers))


def _detail(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return "there is nothing at this path"
    if error.status_code == 405:
        return f"this path does not take {request.method}"
    return str(error.detail)
