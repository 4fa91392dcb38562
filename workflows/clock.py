"""How long a run may still go on: its cap of seconds, and its deadline. No standing timer."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.order import RunOrder
    from workflows.outcomes import RunFailedError

LEAST_SECONDS = 0.1


def now_ms() -> int:
    """Return the workflow's time, in milliseconds since the epoch."""
    return int(workflow.now().timestamp() * 1000)


def seconds_left(order: RunOrder, started_at_ms: int | None) -> float | None:
    """Return for how long a step or a wait may still take, None without an end.

    `max_seconds` counts from `started_at_ms`; before the work has begun it does not count.
    """
    now = now_ms()
    ends = [] if order.deadline_ms is None else [float(order.deadline_ms)]
    if order.limits.max_seconds is not None and started_at_ms is not None:
        ends.append(started_at_ms + order.limits.max_seconds * 1000)
    return max(LEAST_SECONDS, (min(ends) - now) / 1000) if ends else None


def check_time(order: RunOrder, started_at_ms: int | None) -> None:
    """End a run whose time is over.

    Raises:
        RunFailedError: `deadline_exceeded` or `max_seconds`.
    """
    now, cap = now_ms(), order.limits.max_seconds
    if order.deadline_ms is not None and now >= order.deadline_ms:
        raise RunFailedError("deadline_exceeded", "the run's deadline passed before it was done")
    if cap is not None and started_at_ms is not None and now - started_at_ms >= cap * 1000:
        raise RunFailedError("max_seconds", f"the run reached its cap max_seconds of {cap:g}")
