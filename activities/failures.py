"""Our errors as Temporal sees them: a type, whether a retry helps, and when."""

import logging
from datetime import timedelta

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain.errors import (
    InternalError,
    LimitReachedError,
    OrchestratorError,
    PermanentError,
    StepRefusedError,
)

_log = logging.getLogger(__name__)

_LONGEST_WAIT = timedelta(seconds=60)


def backoff(failures: int, first_seconds: float) -> timedelta:
    """Return the wait before the attempt after the `failures`-th failure."""
    return min(_LONGEST_WAIT, timedelta(seconds=first_seconds * 2 ** max(0, failures - 1)))


def final(error: OrchestratorError) -> ApplicationError:
    """Return a failure that no attempt of this step follows."""
    return ApplicationError(error.message, type=error.code, non_retryable=True)


def coded(code: str, message: str) -> ApplicationError:
    """Return a failure under a code of its own that no attempt of this step follows."""
    return ApplicationError(message, type=code, non_retryable=True)


def again(error: OrchestratorError, delay: timedelta) -> ApplicationError:
    """Return a failure after which Temporal tries once more, `delay` later."""
    return ApplicationError(
        error.message,
        type=error.code,
        # A zero delay is not sent by the SDK: the policy's own would count instead.
        next_retry_delay=max(delay, timedelta(milliseconds=1)),
        category=ApplicationErrorCategory.BENIGN,
    )


def refused(error: StepRefusedError) -> ApplicationError:
    """Return what a refusal by the fence means to the workflow."""
    if error.reason == "superseded":
        return again(error, timedelta(seconds=1))
    return ApplicationError(error.message, type=error.reason, non_retryable=True)


def named(error: OrchestratorError) -> ApplicationError:
    """Return any error of ours as a failure: permanent ones are final, others are tried again."""
    if isinstance(error, StepRefusedError):
        return refused(error)
    if isinstance(error, LimitReachedError):
        return ApplicationError(error.message, type=error.reason, non_retryable=True)
    if isinstance(error, PermanentError):
        return final(error)
    return again(error, error.retry_after or timedelta(seconds=1))


def ours(error: Exception, run_id: str, step_id: str) -> OrchestratorError:
    """Return an error of ours as it is; any other by its type and text, its traceback logged."""
    if isinstance(error, OrchestratorError):
        return error
    _log.error("step %s of run %s failed unexpectedly", step_id, run_id, exc_info=error)
    return InternalError(f"{type(error).__name__}: {error}"[:2000])


def cancelled(run_id: str) -> ApplicationError:
    """Return how an attempt ends that this process stopped for a cancel.

    A plain cancellation that the server did not ask for would be a retryable failure, and a
    non-retryable one would end the workflow as failed; so it waits for the server's own request.
    """
    return ApplicationError(
        f"run {run_id} is being cancelled",
        type="RunCancelled",
        next_retry_delay=timedelta(seconds=5),
        category=ApplicationErrorCategory.BENIGN,
    )


def drained() -> ApplicationError:
    """Return how an attempt ends that a draining worker hands over."""
    return ApplicationError(
        "the worker stops; another goes on",
        type="WorkerShutdown",
        next_retry_delay=timedelta(milliseconds=1),
        category=ApplicationErrorCategory.BENIGN,
    )
