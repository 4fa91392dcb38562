"""Waiting until a run's work may begin: its time, its session. The store says when that is."""

from collections.abc import Awaitable, Callable

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from domain.order import RunOrder
    from workflows import store

Wakes = Callable[[], int]
"""How often the run was woken so far."""
Wait = Callable[[int, float | None, str], Awaitable[None]]
"""Waits for a `wake` after the n-th, for at most so many seconds, and for what."""
Show = Callable[[str | None, str], None]
"""Shows what the run waits on, and why; None when it goes on."""
Waiting = tuple[RunOrder, Wakes, Wait, Show]
"""Who waits, and how."""


async def wait_for_start(order: RunOrder, wakes: Wakes, wait: Wait, show: Show) -> bool:
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


async def wait_for_session(order: RunOrder, wakes: Wakes, wait: Wait, show: Show) -> None:
    """Wait until the session is this run's; the row says so, the signal only wakes."""
    is_shown = False
    while True:
        seen = wakes()
        if await store.read_turn(order.run_id, order.timing.finalize_seconds) != "queued":
            break
        if not is_shown:
            show("session", f"another run holds session {order.session_id}")
            is_shown = True
        await wait(seen, None, "session")
    if is_shown:
        show(None, "")
