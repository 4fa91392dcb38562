"""Waiting until a run's work may begin. The store says when; the timer only wakes."""

from collections.abc import Awaitable, Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.order import RunOrder
    from workflows import store

Wait = Callable[[int, float | None, str], Awaitable[None]]
"""Waits for a `wake` after the n-th, for at most so many seconds, and for what."""
Show = Callable[[str | None, str], None]
"""Shows what the run waits on, and why; None when it goes on."""


async def wait_for_start(order: RunOrder, wakes: Callable[[], int], wait: Wait, show: Show) -> bool:
    """Wait for the run's time; return whether it then has to wait for its session."""
    is_shown = False
    while True:
        seen = wakes()
        found = await store.begin(order.run_id, order.timing.finalize_seconds)
        if found.seconds_left is None:
            break
        if not is_shown:
            show("timer", "its work begins later")
            is_shown = True
        await wait(seen, found.seconds_left, "wait for its start")
    if is_shown:
        show(None, "")
    return found.state == "queued"
