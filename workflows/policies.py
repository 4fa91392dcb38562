"""Every timeout and retry policy, named once. Times from settings arrive as `Timing`."""

from datetime import timedelta

from temporalio.common import RetryPolicy

from domain.order import Timing

STEP_ATTEMPTS = 50
"""A backstop: the step's row counts what really failed; accidents of workers use nothing up."""

MAX_REPAIRS = 2
"""Replies in a row of which no call can run, before the run fails."""

SERVER_GRACE = timedelta(seconds=50)
"""On top of a tool's own timeout, so that the activity itself reports that it was cut: a blocking
tool may first wait for a free process (5 s) and for that process to start (30 s)."""

LOCAL = RetryPolicy(
    initial_interval=timedelta(milliseconds=100),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=1),
    maximum_attempts=4,
)
"""Short store writes inside a workflow task; a store that stays away is waited for elsewhere."""

PATIENT = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=30),
)
"""Store writes that must happen some day: no limit of attempts."""


def step_retry(timing: Timing) -> RetryPolicy:
    """Return the policy of model calls, external agents and tools."""
    return RetryPolicy(
        initial_interval=timedelta(seconds=timing.retry_seconds),
        backoff_coefficient=2,
        maximum_interval=timedelta(seconds=60),
        maximum_attempts=STEP_ATTEMPTS,
        non_retryable_error_types=["PayloadsTooLarge"],
    )
