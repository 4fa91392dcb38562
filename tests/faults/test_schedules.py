"""Fault 40, schedules: Temporal is down for several intervals; what fires is what is documented."""

import asyncio
import contextlib
import random
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from domain.schedule import Overlap
from tests.rig.temporal import TemporalServer
from tests.rig.waiting import AWAY, until
from tests.rig.world import World

pytestmark = pytest.mark.timeout(300)
ONE_BY_ONE = frozenset({Overlap.SKIP, Overlap.BUFFER_ONE, Overlap.BUFFER_ALL, Overlap.CANCEL_OTHER})
"""Policies under which two runs never go on at once."""
AT_MOST = {
    **{Overlap.SKIP: 1, Overlap.BUFFER_ONE: 2},
    **{Overlap.CANCEL_OTHER: 1, Overlap.TERMINATE_OTHER: 1},
}
"""How many times of an outage are made up for, as documented."""
LONG_WINDOW = 600
TOLD_MS = 250
"""Within which Temporal's scheduler has heard that a run ended."""


@dataclass(frozen=True)
class Plan:
    """One schedule under one setting."""

    overlap: Overlap
    window: int
    every: int

    @property
    def name(self) -> str:
        return f"{self.overlap}-{self.window}"

    def body(self) -> dict[str, Any]:
        return {
            "schedule_id": self.name,
            "run": {"input": "say hello", "agent_id": "helper"},
            "spec": {"intervals": [{"every_seconds": self.every}]},
            "policy": {"overlap": self.overlap.value, "catchup_window_seconds": self.window},
        }


@dataclass(frozen=True)
class Tick:
    """One firing with its run, read behind the product's back. Times in ms."""

    time: int
    created: int
    ended: int | None
    run_id: str


def ticks_of(world: World, name: str) -> list[Tick]:
    """Return what a schedule has fired, in order of its times."""
    sql = (
        "SELECT f.scheduled_at, r.created_at, r.ended_at, f.run_id FROM firings f"
        " JOIN runs r ON r.run_id = f.run_id WHERE f.schedule_id = ? ORDER BY f.scheduled_at"
    )
    with closing(sqlite3.connect(world.store, timeout=30)) as connection:
        return [Tick(*row) for row in connection.execute(sql, (name,))]


def refused_of(world: World, name: str) -> set[int]:
    """Return the times that came while their schedule was being paused, as documented."""
    sql = (
        "SELECT scheduled_at FROM firings WHERE schedule_id = ? AND error_code = 'schedule_paused'"
    )
    with closing(sqlite3.connect(world.store, timeout=30)) as connection:
        return {row[0] for row in connection.execute(sql, (name,))}


async def outage(
    world: World, server: TemporalServer, plans: list[Plan], seconds: float, kill_worker: bool
) -> Mapping[str, list[Tick]]:
    """Have every schedule fire, take the server away, bring it back; return what fired."""
    _, (worker,) = await world.apart()
    await world.agent()
    for plan in plans:
        await world.send("POST", "/v1/schedules", plan.body(), allowed=(409,))

    async def fired_since(ms: float) -> bool:
        found = [ticks_of(world, plan.name) for plan in plans]
        return all(ticks and ticks[-1].created > ms for ticks in found)

    await until("every schedule fires", lambda: fired_since(0))
    # Between two times: what goes on when the server is killed has others skipped or wait.
    await until("what fired is over", lambda: all(0.7 < phase(plan) < 0.95 for plan in plans))
    server.child.kill()
    gone = time.time() * 1000
    if kill_worker:
        worker.kill()
    await asyncio.sleep(seconds)  # the fault itself: times pass while nobody can fire
    server.start()
    back = time.time() * 1000
    if kill_worker:
        await world.worker()
    # Twice the interval later whatever is made up for has been made up for.
    late = back + 2000 * max(plan.every for plan in plans)
    await until("every schedule fires again", lambda: fired_since(late))
    for plan in plans:
        await world.send("POST", f"/v1/schedules/{plan.name}/pause", {})
    await world.check()
    # What still waited in a buffer when its schedule was paused is refused, or starts after this.
    found = {plan.name: ticks_of(world, plan.name) for plan in plans}
    for plan in plans:
        judge(plan, found[plan.name], refused_of(world, plan.name), gone, back)
    return found


def phase(plan: Plan) -> float:
    """Return how much of the time from one firing to the next has passed."""
    return time.time() % plan.every / plan.every


def judge(plan: Plan, ticks: list[Tick], refused: set[int], gone: float, back: float) -> None:
    """Hold the firings of one schedule to what its policy says."""
    times = [tick.time for tick in ticks]
    assert len(set(times)) == len(times), f"{plan.name} fired twice: {times}"
    assert len({tick.run_id for tick in ticks}) == len(ticks), plan.name
    assert all(moment % (1000 * plan.every) == 0 for moment in times), plan.name
    if plan.overlap in ONE_BY_ONE:
        by_start = sorted(ticks, key=lambda tick: tick.created)
        for before, after in pairwise(by_start):
            assert before.ended is not None, f"{plan.name}: runs overlap"
            assert after.created >= before.ended, f"{plan.name}: runs overlap"
    missed = [t for t in every_time(plan, gone, back) if t < back - 1000 * plan.every]
    made_up = [moment for moment in missed if moment in times]
    too_late = [t for t in missed if t < back - 1000 * plan.window]
    assert not set(made_up) & set(too_late), f"{plan.name} made up for what was too long ago"
    if plan.overlap in AT_MOST:
        assert len(made_up) <= AT_MOST[plan.overlap], f"{plan.name}: a burst"
    waited = any(t.time < gone and t.created > back for t in ticks)
    if plan.overlap is Overlap.BUFFER_ONE and plan.window == LONG_WINDOW and not waited:
        # What was buffered before the outage is the one time that it keeps.
        assert made_up, f"{plan.name} made up for nothing"
    if plan.overlap is Overlap.SKIP and plan.window == LONG_WINDOW and has_rest(ticks, gone):
        assert made_up, f"{plan.name} made up for nothing"
    if plan.overlap in (Overlap.BUFFER_ALL, Overlap.ALLOW_ALL) and plan.window == LONG_WINDOW:
        every = range(times[0], times[-1] + 1, 1000 * plan.every)
        assert times == [t for t in every if t not in refused], f"{plan.name} lost times"


def has_rest(ticks: list[Tick], gone: float) -> bool:
    """Whether Temporal knew that no run went on when it was killed: else others are skipped."""
    return all(t.ended is not None and t.ended < gone - TOLD_MS for t in ticks if t.time < gone)


def every_time(plan: Plan, start: float, end: float) -> list[int]:
    """Return the schedule's times between two moments, in ms."""
    step = 1000 * plan.every
    first = -(-int(start) // step) * step
    return list(range(first, int(end), step))


async def test_three_intervals_without_a_server_fire_as_documented(
    own_server: TemporalServer, tmp_path: Path
) -> None:
    """Policies that wait, skip and keep; the heavy one has them all."""
    overlaps = (Overlap.SKIP, Overlap.BUFFER_ONE, Overlap.BUFFER_ALL)
    plans = [Plan(overlap, LONG_WINDOW, 1) for overlap in overlaps]
    async with World(tmp_path / "world", own_server.address) as world:
        await outage(world, own_server, plans, 3.5, kill_worker=False)


@pytest.mark.heavy
async def test_what_is_older_than_the_window_is_not_made_up_for(
    own_server: TemporalServer, tmp_path: Path
) -> None:
    """Every overlap and catch-up setting, the worker killed as well."""
    plans = [Plan(overlap, window, 4) for overlap in Overlap for window in (10, LONG_WINDOW)]
    async with World(tmp_path / "world", own_server.address) as world:
        found = await outage(world, own_server, plans, 22, kill_worker=True)
    assert len(found["allow_all-10"]) < len(found[f"allow_all-{LONG_WINDOW}"])


CRASHES = ("fire:before", "fire:after", "finalize:after", "settle:before", "settle:after")


async def crash_while_firing(world: World, point: str) -> None:
    """Kill the process at one commit of a firing; the next one finishes it."""
    name = point.replace(":", "-")
    role = await world.up(ORCHESTRATOR_CRASH_POINT=point)
    helper = {"agent_id": "helper", "name": "helper", "models": ["offline/script"]}
    await world.send("POST", "/v1/agents", helper, allowed=(409,))
    run = {"input": "say hello", "agent_id": "helper"}
    body = {"schedule_id": name, "run": run, "spec": {"cron": ["0 0 1 1 *"]}}
    await world.send("POST", "/v1/schedules", body)
    with contextlib.suppress(*AWAY):  # it may die before it has answered
        await world.http.request("POST", f"{world.url}/v1/schedules/{name}/trigger", json={})
    assert await role.died() == -9
    role = await world.up()

    async def has_ended() -> bool:
        sql = "SELECT count(*) FROM firings WHERE schedule_id = ? AND ended_at IS NOT NULL"
        with closing(sqlite3.connect(world.store, timeout=30)) as connection:
            (count,) = connection.execute(sql, (name,)).fetchone()
            return bool(count == 1)

    await until("the firing ends", has_ended)
    assert len(ticks_of(world, name)) == 1
    role.kill()


async def test_a_process_that_dies_while_it_fires_makes_one_run(world: World, seed: int) -> None:
    await crash_while_firing(world, random.Random(seed).choice(CRASHES))
    await world.up()
    books = await world.check()
    assert len(books.runs) == 1


@pytest.mark.heavy
async def test_a_process_that_dies_at_any_commit_of_a_firing_makes_one_run(world: World) -> None:
    for point in CRASHES:
        await crash_while_firing(world, point)
    await world.up()
    books = await world.check()
    assert len(books.runs) == len(CRASHES)
