"""A worker that stops: when its attempts are cut."""

import asyncio
from typing import Any

import pytest

from activities.live import LiveAttempts, Stop
from bootstrap import worker_role
from bootstrap.worker_role import WorkerRole


class Leaving:
    """A Temporal worker whose polls end when it is told."""

    def __init__(self) -> None:
        self.polls_ended = asyncio.Event()

    async def shutdown(self) -> None:
        await self.polls_ended.wait()


class Dropped:
    """What is given back at the end."""

    async def drop(self) -> None:
        pass


def role_of(worker: Leaving) -> WorkerRole:
    nothing: Any = Dropped()
    told: Any = worker
    live = LiveAttempts("w-1", 1, 0)
    return WorkerRole(told, live, nothing, nothing, nothing, 1.0, [])


async def attempt(role: WorkerRole, stops: "asyncio.Queue[Stop | None]") -> None:
    with role.live.attempt("run_1", "llm-1-1") as live:
        stops.put_nowait(None)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stops.put_nowait(live.stopped)


async def stopped_at_work(
    role: WorkerRole, stops: "asyncio.Queue[Stop | None]"
) -> "asyncio.Future[tuple[None, None]]":
    """Stop a worker that has an attempt; return the end of both."""
    working = asyncio.create_task(attempt(role, stops))
    await stops.get()
    return asyncio.gather(role.stop(), working)


async def test_an_attempt_goes_on_while_the_worker_may_still_be_given_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_role, "SETTLE_SECONDS", 60.0)
    leaving, stops = Leaving(), asyncio.Queue[Stop | None]()
    role = role_of(leaving)
    both = await stopped_at_work(role, stops)
    for _ in range(10):
        await asyncio.sleep(0)
    assert stops.empty()
    assert not role.live.is_draining
    leaving.polls_ended.set()

    assert await stops.get() is Stop.DRAIN
    await both


async def test_a_worker_that_never_says_so_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_role, "SETTLE_SECONDS", 0.0)
    leaving, stops = Leaving(), asyncio.Queue[Stop | None]()
    role = role_of(leaving)
    both = await stopped_at_work(role, stops)

    assert await stops.get() is Stop.DRAIN
    leaving.polls_ended.set()
    await both
