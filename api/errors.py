"""Failures as HTTP answers: one table of statuses, and three shapes of bodies.

Native paths answer RFC 9457 `application/problem+json`, OpenAI's paths OpenAI's shape, and the
seeds' paths `{"error": {"code", "message"}}`.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from domain import errors
from domain.event import encode_json
from domain.schedule import to_iso

STATUS: dict[type[errors.OrchestratorError], int] = {
    errors.OrchestratorError: 500,
    errors.TransientError: 503,
    errors.StoreUnavailableError: 503,
    errors.StoreFullError: 507,
    errors.EngineUnavailableError: 503,
    errors.QueueFullError: 503,
    errors.DrainingError: 503,
    errors.RateLimitedError: 429,
    errors.ModelError: 502,
    errors.ModelRateLimitedError: 502,
    errors.ModelUnavailableError: 502,
    errors.ModelTimeoutError: 504,
    errors.StreamIncompleteError: 502,
    errors.MalformedReplyError: 502,
    errors.AgentUnavailableError: 502,
    errors.InternalError: 500,
    errors.PermanentError: 422,
    errors.InvalidRequestError: 422,
    errors.NotSupportedError: 422,
    errors.RequestTooLargeError: 413,
    errors.UnauthorizedError: 401,
    errors.ForbiddenError: 403,
    errors.DispatchRefusedError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.SessionBusyError: 409,
    errors.IdempotencyKeyConflictError: 409,
    errors.RunTerminalError: 409,
    errors.ForkRefusedError: 409,
    errors.OutcomeUnknownError: 409,
    errors.ApprovalDecidedError: 409,
    errors.ApprovalExpiredError: 410,
    errors.RequestTakenError: 409,
    errors.RequestExpiredError: 410,
    errors.DispatchSupersededError: 409,
    errors.ToolCallSettledError: 409,
    errors.ModelNotConfiguredError: 422,
    errors.ModelRequestError: 502,
    errors.ModelAuthError: 502,
    errors.ReplyTooLargeError: 502,
    errors.AgentFailedError: 502,
    errors.ToolFailedError: 422,
    errors.AddressRefusedError: 422,
    errors.CircuitOpenError: 503,
    errors.BudgetExhaustedError: 402,
    errors.PriceUnknownError: 422,
    errors.EngineMismatchError: 503,
    errors.SetupError: 500,
    errors.LimitReachedError: 409,
    errors.DeadlineExceededError: 504,
    errors.StepRefusedError: 409,
}
"""HTTP status of every error; a class that is not listed takes its parent's."""

STATUS_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    402: "Payment required",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    410: "Gone",
    413: "Request too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Invalid request",
    429: "Too many requests",
    431: "Header fields too large",
    500: "Internal error",
    502: "Bad gateway",
    503: "Unavailable",
    504: "Gateway timeout",
    507: "Insufficient storage",
}
_EXAMPLE_CODES = {402: "budget_exhausted", 409: "session_busy", 503: "queue_full"}
COMPLETIONS = "/v1/chat/completions"
_OPENAI_PATHS = ("/v1/models", COMPLETIONS)
_OPENAI_TYPES = {429: "rate_limit_error"}
_SEED_PATHS = ("/internal/", "/api/")
_DEFAULT_RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong, before it has a shape. `where` names the fields, each with a sentence."""

    status: int
    code: str
    detail: str
    where: tuple[dict[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    reason: str | None = None
    """Which cap or limit says so, where one does."""
    kind: str | None = None
    """The error's `type` in OpenAI's shape, where somebody else said it."""
    facts: dict[str, str | None] = field(default_factory=dict)
    """What a program may want to know besides the code; members of their own in native answers."""


class RefusedError(HTTPException):
    """A request that is refused for its form, before any of our own errors could say so."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status, problem.detail, problem.headers)
        self.problem = problem


def refuse(status: int, code: str, detail: str, **headers: str) -> RefusedError:
    """Return the exception that answers `status`; header names are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return RefusedError(Problem(status, code, detail, headers=named))


def problem_of(error: errors.OrchestratorError) -> Problem:
    """Return the answer to a failure of ours."""
    status = next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)
    headers: dict[str, str] = {}
    if status in {429, 503}:
        wait = error.retry_after.total_seconds() if error.retry_after else _DEFAULT_RETRY_SECONDS
        headers["retry-after"] = str(max(1, math.ceil(wait)))
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="orchestrator"'
    reason = error.reason if isinstance(error, errors.LimitReachedError) else None
    facts = _facts(error)
    return Problem(status, error.code, error.message, _where(error), headers, reason, facts=facts)


def _facts(error: errors.OrchestratorError) -> dict[str, str | None]:
    if not isinstance(error, errors.ApprovalDecidedError):
        return {}
    first = error.first
    at = None if first.decided_at is None else to_iso(first.decided_at)
    return {"decision": first.decision, "decided_by": first.decided_by, "decided_at": at}


def _where(error: errors.OrchestratorError) -> tuple[dict[str, str], ...]:
    if error.field is None:
        return ()
    place = error.field if error.field.startswith("query.") else f"body.{error.field}"
    return ({"field": place, "message": error.message},)


def openai_problem(error: errors.OrchestratorError) -> Problem:
    """Return the answer to a failure as clients of OpenAI expect it.

    A request that is wrong is 400, a model that is not there 404. What a provider refused keeps its
    status and its words; that it does not take our credentials is our fault, not the caller's.
    """
    problem = problem_of(error)
    status = next((s for kind, s in _OPENAI_STATUS if isinstance(error, kind)), problem.status)
    said = error.refusal
    if said is None or isinstance(error, errors.ModelAuthError):
        return _with_wait(replace(problem, status=status), error)
    if isinstance(error, errors.ModelRequestError | errors.ModelUnavailableError):
        # A redirect is followed by nobody, and the caller can do nothing about it.
        status = said.status if 400 <= said.status < 600 else 502
    where = problem.where
    if said.param:
        where = ({"field": said.param, "message": said.message},)
    problem = replace(
        problem,
        status=status,
        code=said.code or problem.code,
        detail=said.message or problem.detail,
        where=where,
        kind=said.type,
    )
    return _with_wait(problem, error)


_OPENAI_STATUS: tuple[tuple[type[errors.OrchestratorError], int], ...] = (
    (errors.RequestTooLargeError, 413),
    (errors.InvalidRequestError, 400),
    (errors.ModelNotConfiguredError, 404),
    (errors.ModelRequestError, 400),
    (errors.ModelRateLimitedError, 429),
)


def _with_wait(problem: Problem, error: errors.OrchestratorError) -> Problem:
    headers = dict(problem.headers)
    if error.retry_after is not None and problem.status in {429, 502, 503, 529}:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
    if isinstance(error, errors.ModelAuthError):
        # The official client would try a 502 again.
        headers["x-should-retry"] = "false"
    return replace(problem, headers=headers)


def openai_error(problem: Problem) -> dict[str, Any]:
    """Return a failure in OpenAI's shape."""
    return _openai(problem, "")


def respond(problem: Problem, path: str, request_id: str) -> Response:
    """Return the answer in the shape that callers of `path` expect."""
    family = family_of(path)
    media = "application/problem+json" if family == "native" else "application/json"
    body = encode_json(_SHAPES[family](problem, request_id)).encode()
    return Response(body, problem.status, problem.headers, media_type=media)


def family_of(path: str) -> str:
    """Say whose shape errors of `path` have: `native`, `openai` or `seed`."""
    if path.startswith(_OPENAI_PATHS) and not path.endswith("/price"):
        return "openai"
    return "seed" if path.startswith(_SEED_PATHS) else "native"


def example(family: str, status: int) -> dict[str, Any]:
    """Return what an answer of `family` with `status` looks like, for the OpenAPI document."""
    code = _EXAMPLE_CODES.get(status, STATUS_TITLES[status].lower().replace(" ", "_"))
    return _SHAPES[family](Problem(status, code, "what happened, and what to do"), "req_01k9")


def _native(problem: Problem, request_id: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "type": f"urn:orchestrator:error:{problem.code}",
        "title": STATUS_TITLES.get(problem.status, "Error"),
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
    }
    if problem.reason is not None:
        body["reason"] = problem.reason
    if problem.where:
        body["errors"] = list(problem.where)
    return body | problem.facts


def _openai(problem: Problem, _request_id: str) -> dict[str, Any]:
    usual = "invalid_request_error" if problem.status < 500 else "server_error"
    kind = problem.kind or _OPENAI_TYPES.get(problem.status, usual)
    param = problem.where[0]["field"].removeprefix("body.") if problem.where else None
    error = {"message": problem.detail, "type": kind, "param": param, "code": problem.code}
    return {"error": error}


def _seed(problem: Problem, _request_id: str) -> dict[str, Any]:
    message = problem.detail
    if problem.where:
        named = "; ".join(f"{item['field']}: {item['message']}" for item in problem.where)
        message = f"{message}: {named}"
    return {"error": {"code": problem.code, "message": message}}


_SHAPES = {"native": _native, "openai": _openai, "seed": _seed}
