"""Calls that may not be made now: what the workflow is told, or what is raised instead."""

from datetime import timedelta

from temporalio import activity

from activities import failures
from domain.errors import (
    BudgetExhaustedError,
    CircuitOpenError,
    ModelRateLimitedError,
    OrchestratorError,
)
from domain.order import ChatReply
from domain.step import AwaitingBudget, Withheld, milliseconds

_PATIENT_ATTEMPTS = 25
"""Attempts that are only put off, before the workflow sets a timer: attempts are counted."""
_REFUSALS: dict[str, type[OrchestratorError]] = {
    "budget_exhausted": BudgetExhaustedError,
    "budget_degraded": BudgetExhaustedError,
    "budget_busy": BudgetExhaustedError,
    "circuit_open": CircuitOpenError,
    "model_rate_limited": ModelRateLimitedError,
}


def explain(held: AwaitingBudget | Withheld, longest_wait: float, *, has_next: bool) -> ChatReply:
    """Say what a call that may not be made now means: the next model, a wait, or the end.

    `longest_wait` is how many seconds a rate may take while another model stands behind.

    Raises:
        ApplicationError: the call is put off or refused.
    """
    if isinstance(held, AwaitingBudget):
        wait_ms = held.expires_in_ms
        seconds = None if wait_ms is None else wait_ms / 1000
        return ChatReply(waits_for=held.budget_id, expires_in_seconds=seconds)
    error = _REFUSALS[held.code](held.message, retry_after=milliseconds(held.wait_ms))
    if held.code == "budget_busy":
        return _put_off(error, failures.backoff(activity.info().attempt, 0.25))
    wait = error.retry_after
    can_wait = wait is not None and wait.total_seconds() <= longest_wait
    if wait is None or (has_next and not (can_wait and held.code == "model_rate_limited")):
        raise failures.coded(held.code, held.message)
    return _put_off(error, wait)


def _put_off(error: OrchestratorError, wait: timedelta) -> ChatReply:
    """Have the call tried again later; the workflow itself waits before attempts run out."""
    if activity.info().attempt < _PATIENT_ATTEMPTS:
        raise failures.again(error, wait)
    return ChatReply(
        waits_for=error.message, waits_on="timer", expires_in_seconds=wait.total_seconds()
    )
