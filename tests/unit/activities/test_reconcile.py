"""The reconciler: what open runs need is done, by one worker at a time."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import pytest

from activities.looks import SHARE
from activities.reconcile import ReconcilePorts, Reconciler, ReconcileSettings
from domain.errors import EngineUnavailableError, NotFoundError
from domain.family import Unstarted
from domain.run import Run, RunKind, RunSpec, RunState, RunUsage, WaitingOn
from domain.step import Finish, Finished
from domain.stopping import Stopping
from domain.upkeep import STUCK_KEY, Lease, OpenRun, stuck_runs


class Clock:
    def now_ms(self) -> int:
        return 1_000_000


class World:
    """Store, engine and gateway in one, remembering what was asked of it."""

    def __init__(self, *found: OpenRun) -> None:
        self.found = list(found)
        self.engine: dict[str, tuple[str, str]] = {}
        self.done: list[tuple[str, ...]] = []
        self.lease_free = True
        self.away = False
        self.heir: str | None = None
        self.gone: set[str] = set()
        self.broken: set[str] = set()
        self.notes: dict[str, str] = {}
        self.writes = 0
        self.asked: list[str] = []
        self.unlisted: set[str] = set()
        self.listless = False

    async def take_lease(self, lease: Lease, now_ms: int) -> bool:
        return self.lease_free

    async def open_runs(self, before_ms: int, limit: int) -> Sequence[OpenRun]:
        return self.found

    async def spec_of(self, run_id: str) -> RunSpec:
        if run_id in self.broken:
            raise ValueError("no snapshot")
        return RunSpec()

    async def purge_idempotency(self, before_ms: int) -> int:
        return 0

    async def meta(self, key: str, value: str | None = None) -> str | None:
        if value is not None:
            self.writes += 1
            self.notes.setdefault(key, value)
        return self.notes.get(key)

    async def set_meta(self, key: str, value: str) -> None:
        self.writes += 1
        self.notes[key] = value

    async def check(self) -> str | None:
        return None

    async def look(self, run_id: str) -> tuple[str, str]:
        if self.away:
            raise EngineUnavailableError("away")
        self.asked.append(run_id)
        return self.engine.get(run_id, ("open", ""))

    async def list_open(self) -> AbstractSet[str]:
        if self.listless:
            raise EngineUnavailableError("no list")
        return {one.run.run_id for one in self.found} - self.unlisted

    async def start(self, run: Run, spec: RunSpec, *, queued: bool) -> None:
        self.done.append(("start", run.run_id, str(queued)))

    async def cancel(self, run_id: str) -> None:
        self.done.append(("cancel", run_id))

    async def to_stop(self, run_id: str) -> Sequence[Unstarted]:
        return []

    async def wake(self, run_id: str) -> None:
        self.done.append(("wake", run_id))

    async def finalize(self, run_id: str, finish: Finish) -> Finished:
        if run_id in self.gone:
            raise NotFoundError(run_id)
        self.done.append(("close", run_id, finish.code or ""))
        return Finished(finish.state, woken_run_id=self.heir)


def _run(run_id: str, state: RunState = RunState.RUNNING, **facts: Any) -> OpenRun:
    run = Run(
        run_id=run_id,
        owner="o",
        session_id="s",
        agent_id="a",
        kind=RunKind.AGENT,
        state=state,
        waiting_on=facts.get("waiting_on"),
        output=None,
        error=None,
        usage=RunUsage(),
        root_run_id=run_id,
        created_at=1,
        started_at=None,
        ended_at=None,
        last_seq=1,
        cancel_asked=facts.get("cancel_asked", False),
        metadata={},
    )
    return OpenRun(
        run=run,
        queued=facts.get("queued", False),
        holds_session=True,
        was_woken=False,
        resolved_unseen=facts.get("resolved_unseen", False),
    )


class Settled:
    """Approvals of which a changed policy settles some."""

    count = 0

    async def revisit(self) -> int:
        return self.count


class Swept:
    """Requests of which some were late."""

    async def sweep(self) -> int:
        return 0


def _reconciler(world: World, every: float = 60.0) -> Reconciler:
    stopping = Stopping(world, world)  # type: ignore[arg-type]
    said: Any = Settled(), stopping, Swept()
    book: Any = world
    ports = ReconcilePorts(book, book, book, world, Clock(), *said)
    return Reconciler(ports, "w1", ReconcileSettings(every_seconds=every))


async def test_every_kind_of_run_gets_what_it_needs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World(
        _run("run_new", RunState.CREATED),
        _run("run_lost"),
        _run("run_shut"),
        _run("run_stop", cancel_asked=True),
        _run("run_heir", queued=True),
        _run("run_fine"),
    )
    world.engine = {
        "run_new": ("missing", "missing"),
        "run_lost": ("missing", "missing"),
        "run_shut": ("closed", "terminated"),
    }

    counts = await _reconciler(world).make_pass()

    assert counts == {"start": 1, "close": 2, "cancel": 1, "wake": 1}
    assert world.done == [
        ("start", "run_new", "False"),
        ("close", "run_lost", "engine_state_lost"),
        ("close", "run_shut", "engine_terminated"),
        ("cancel", "run_stop"),
        ("wake", "run_heir"),
    ]
    assert "run run_shut was mended: close; its workflow is terminated" in caplog.text
    assert "run run_stop was mended: cancel; its workflow is open" in caplog.text
    assert "run_fine" not in caplog.text
    assert "reconciled: 1 cancel, 2 close, 1 start, 1 wake" in caplog.text


async def test_a_stuck_run_is_told_once_and_noted_until_it_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(_run("run_1"), _run("run_2"))
    reconciler = _reconciler(world)
    await reconciler.make_pass()
    assert world.writes == 0, "a store without stuck runs is not written to"

    world.engine = {"run_2": ("open", "7")}
    await reconciler.make_pass()
    await reconciler.make_pass()

    assert stuck_runs(world.notes[STUCK_KEY]) == ("run_2",)
    assert world.writes == 1
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "run_2 is stuck: attempt 7" in told
    assert "fix the worker" in told

    world.engine = {}
    await reconciler.make_pass()
    assert stuck_runs(world.notes[STUCK_KEY]) == ()


async def test_a_stuck_run_that_is_to_be_cancelled_is_ended_for_it() -> None:
    world = World(_run("run_1", cancel_asked=True))
    world.engine = {"run_1": ("open", "5")}

    await _reconciler(world).make_pass()

    assert world.done == [("cancel", "run_1"), ("close", "run_1", "")]


async def test_the_session_of_a_closed_run_is_handed_over() -> None:
    world = World(_run("run_lost"))
    world.engine = {"run_lost": ("missing", "missing")}
    world.heir = "run_next"

    await _reconciler(world).make_pass()

    assert world.done[-1] == ("wake", "run_next")


async def test_a_run_that_vanished_meanwhile_is_no_error() -> None:
    world = World(_run("run_lost"))
    world.engine, world.gone = {"run_lost": ("missing", "missing")}, {"run_lost"}

    await _reconciler(world).make_pass()

    assert world.done == []


async def test_only_the_holder_of_the_lease_acts() -> None:
    world = World(_run("run_stop", cancel_asked=True))
    world.lease_free = False

    assert await _reconciler(world).make_pass() == {}
    assert world.done == []


async def test_a_pass_that_failed_is_made_again_and_a_nudge_makes_one_now() -> None:
    world = World(_run("run_stop", cancel_asked=True))
    world.away = True
    reconciler = _reconciler(world, every=0.01)
    task = asyncio.create_task(reconciler.run_forever())

    async with asyncio.timeout(5):
        await asyncio.sleep(0)
        world.away = False
        while not world.done:
            reconciler.nudge()
            await asyncio.sleep(0.005)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    assert world.done[0] == ("cancel", "run_stop")


async def test_a_run_that_cannot_be_mended_does_not_keep_the_pass_from_the_next() -> None:
    world = World(_run("run_1", RunState.CREATED), _run("run_2", RunState.CREATED))
    world.engine = {"run_1": ("missing", "missing"), "run_2": ("missing", "missing")}
    world.broken = {"run_1"}

    assert await _reconciler(world).make_pass() == {"failed": 1, "start": 1}
    assert world.done == [("start", "run_2", "False")]


async def test_lost_runs_are_started_again_until_a_pass_has_reached_all() -> None:
    world = World(_run("run_1"), _run("run_2"))
    world.engine = {"run_1": ("missing", "missing"), "run_2": ("missing", "missing")}
    world.broken = {"run_1"}
    ends: list[bool] = []
    reconciler = _reconciler(world)
    reconciler.restart_missing(lambda: ends.append(True))

    await reconciler.make_pass()
    assert (world.done, ends) == ([("start", "run_2", "False")], [])

    world.broken = set()
    await reconciler.make_pass()
    await reconciler.make_pass()
    assert ends == [True]
    assert [what for what, *_ in world.done] == ["start", "start", "start", "close", "close"]


def _waiting(count: int) -> list[OpenRun]:
    return [_run(f"run_{n:03}", waiting_on=WaitingOn.APPROVAL) for n in range(count)]


async def test_runs_that_wait_in_the_engines_list_are_asked_about_in_turn() -> None:
    """Else a thousand runs that wait for people cost a second of work in every minute."""
    world = World(*_waiting(2 * SHARE + 10), _run("run_busy"))
    reconciler = _reconciler(world)

    passes: list[set[str]] = []
    for _ in range(3):
        world.asked.clear()
        await reconciler.make_pass()
        assert "run_busy" in world.asked
        passes.append(set(world.asked) - {"run_busy"})

    assert [len(one) for one in passes] == [SHARE, SHARE, SHARE]
    assert set.union(*passes) == {found.run.run_id for found in _waiting(2 * SHARE + 10)}


async def test_what_the_list_does_not_show_or_is_owed_something_is_asked_about() -> None:
    world = World(
        *_waiting(2 * SHARE),
        _run("run_z", waiting_on=WaitingOn.APPROVAL, resolved_unseen=True),
        _run("run_y", waiting_on=WaitingOn.APPROVAL),
    )
    world.unlisted, world.engine = {"run_y"}, {"run_y": ("closed", "terminated")}

    counts = await _reconciler(world).make_pass()

    assert counts == {"wake": 1, "close": 1}
    assert len(world.asked) == SHARE + 2


async def test_a_stuck_run_that_waits_is_asked_about_in_every_pass() -> None:
    world = World(*_waiting(3 * SHARE))
    world.engine = {"run_000": ("open", "7")}
    reconciler = _reconciler(world)

    for _ in range(3):
        await reconciler.make_pass()

        assert stuck_runs(world.notes[STUCK_KEY]) == ("run_000",)


async def test_without_the_engines_list_every_run_is_asked_about() -> None:
    world = World(*_waiting(2 * SHARE))
    world.listless = True

    await _reconciler(world).make_pass()

    assert len(world.asked) == 2 * SHARE
