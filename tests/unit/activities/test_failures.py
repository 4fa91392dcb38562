"""Our errors as the engine sees them."""

from datetime import timedelta

import pytest

from activities import failures
from domain.errors import (
    ModelUnavailableError,
    NotFoundError,
    OrchestratorError,
    StepRefusedError,
)


def test_waits_double_up_to_a_minute() -> None:
    waits = [failures.backoff(n, 1.0).total_seconds() for n in (1, 2, 3, 10)]

    assert waits == [1, 2, 4, 60]


@pytest.mark.parametrize(
    ("error", "kind", "is_final"),
    [
        (NotFoundError("x"), "not_found", True),
        (ModelUnavailableError("x"), "model_unavailable", False),
        (StepRefusedError("x", reason="cancel_asked"), "cancel_asked", True),
        (StepRefusedError("x", reason="superseded"), "step_refused", False),
    ],
)
def test_each_error_has_its_code_as_type_and_says_whether_a_retry_helps(
    error: OrchestratorError, kind: str, is_final: bool
) -> None:
    found = failures.named(error)

    assert (found.type, found.non_retryable) == (kind, is_final)


def test_a_wait_that_was_told_is_passed_on() -> None:
    error = ModelUnavailableError("x", retry_after=timedelta(seconds=7))

    assert failures.named(error).next_retry_delay == timedelta(seconds=7)
    assert failures.again(error, timedelta(0)).next_retry_delay == timedelta(milliseconds=1)


def test_a_stopped_attempt_is_a_retryable_failure_with_a_name() -> None:
    assert (failures.cancelled("run_1").type, failures.drained().type) == (
        "RunCancelled",
        "WorkerShutdown",
    )
