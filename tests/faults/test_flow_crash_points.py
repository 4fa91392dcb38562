"""Whole flows crashed at each of their commits: an approval, a fork, a tree of runs."""

import os
import random
from pathlib import Path

import pytest

from tests.faults.approval_plays import play_approval
from tests.faults.child_plays import play_child, play_child_cancelled
from tests.faults.crashes import BOTH, before_and_after, crash, crash_all
from tests.faults.plays import play_fork
from tests.faults.report import record
from tests.rig.temporal import TemporalServer

APPROVAL_STEPS = ("close_step", "open_step", "decide", "close_tool", "finalize")
LOOP = (pytest.mark.heavy, pytest.mark.timeout(3600))
COMMITS_OF_CHILDREN = {
    **{"open_step": 4, "append_delta": 3, "close_step": 4},
    **{"spawn": 2, "close_tool": 1, "finalize": 3},
}
"""How often `play_child` comes by a commit at least."""


@pytest.mark.timeout(300)
async def test_an_approval_crashed_at_every_commit(
    temporal: TemporalServer, tmp_path: Path
) -> None:
    """Asked, waiting, decided, run, ended: whoever dies between any two, the tool runs once."""
    cases = before_and_after(["close_step", "open_step", "close_tool", "finalize"])
    cases += [tuple(f"open_step:{when}:{nth}" for when in BOTH) for nth in (2, 3)]
    await crash_all(cases, temporal.address, tmp_path, play=play_approval)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rounds", [1, pytest.param(50, marks=LOOP)])
async def test_everything_is_killed_at_a_step_of_an_approval(
    own_server: TemporalServer, tmp_path: Path, seed: int, rounds: int
) -> None:
    """API, worker and Temporal: at each step in turn, and sometimes at a second one."""
    rng = random.Random(seed)
    steps = [f"{name}:{when}" for name in APPROVAL_STEPS for when in BOTH]
    for number in range(int(os.environ.get("FAULT_ROUNDS", rounds)) if rounds > 1 else rounds):
        place = number % len(steps) if rounds > 1 else rng.randrange(len(steps))
        later = steps[place + 1 :]
        points = (steps[place], *rng.sample(later, min(len(later), rng.randint(0, 1))))
        await crash(tmp_path / str(number), own_server.address, points, play_approval, own_server)
    record("approval_all_killed", seed, rounds=rounds)


@pytest.mark.timeout(300)
async def test_a_fork_crashed_at_its_commits(temporal: TemporalServer, tmp_path: Path) -> None:
    """Whatever dies between any two, there is one fork and one charge."""
    cases: list[tuple[str, ...]] = [
        ("accept:before:2", "accept:after"),
        ("open_step:before:4", "open_step:after:2"),
        ("close_step:before:3", "close_step:after"),
        ("finalize:before:2", "finalize:after"),
    ]
    await crash_all(cases, temporal.address, tmp_path, play=play_fork)


@pytest.mark.timeout(300)
async def test_a_run_with_children_crashed_at_every_commit(
    temporal: TemporalServer, tmp_path: Path
) -> None:
    """Made, started, waited for, ended, read: whoever dies in between, there is one of each."""
    cases = before_and_after(["close_step", "spawn", "finalize"])
    cases.append(("open_step:after:3", "close_tool:before"))
    await crash_all(cases, temporal.address, tmp_path, play=play_child)


@pytest.mark.timeout(300)
async def test_a_tree_that_is_cancelled_crashed_at_every_commit(
    temporal: TemporalServer, tmp_path: Path
) -> None:
    cases = before_and_after(["ask_cancel", "finalize"])
    await crash_all(cases, temporal.address, tmp_path, play=play_child_cancelled)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_a_seeded_loop_over_children(
    temporal: TemporalServer, tmp_path: Path, seed: int
) -> None:
    """Every process dies at a random commit of a run with children, the next one at another."""
    rng = random.Random(seed)
    cases: list[tuple[str, ...]] = []
    for _ in range(int(os.environ.get("FAULT_ROUNDS", "50"))):
        names = [rng.choice(sorted(COMMITS_OF_CHILDREN)) for _ in range(rng.randint(1, 3))]
        cases.append(
            tuple(
                f"{name}:{rng.choice(BOTH)}:{rng.randint(1, COMMITS_OF_CHILDREN[name])}"
                for name in names
            )
        )
    await crash_all(cases, temporal.address, tmp_path, play=play_child)
    record("child_crash_points", seed, cases=len(cases))


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_a_seeded_loop_over_an_approval(
    temporal: TemporalServer, tmp_path: Path, seed: int
) -> None:
    """Every process dies at a random step of the flow, sometimes the next one at another too."""
    rng = random.Random(seed)
    names = ("open_step", "close_step", *APPROVAL_STEPS[2:])
    cases: list[tuple[str, ...]] = []
    for _ in range(int(os.environ.get("FAULT_ROUNDS", "50"))):
        # In the order of the flow, so that the second process comes by its point as well.
        places = sorted(rng.sample(range(2, len(names)), rng.randint(1, 2)))
        cases.append(tuple(f"{names[place]}:{rng.choice(BOTH)}" for place in places))
    cases += [(f"{name}:{when}",) for name in names[:2] for when in BOTH]
    await crash_all(cases, temporal.address, tmp_path, play=play_approval)
    record("approval_crash_points", seed, cases=len(cases))


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_a_seeded_loop_over_a_fork(
    temporal: TemporalServer, tmp_path: Path, seed: int
) -> None:
    """Each commit of the fork by itself, then random ones before a second crash."""
    rng = random.Random(seed)
    times = {"accept": (2,), "open_step": (4, 5, 6), "close_step": (3,), "finalize": (2,)}
    points = [
        f"{name}:{when}:{nth}" for name, nths in times.items() for nth in nths for when in BOTH
    ]
    cases: list[tuple[str, ...]] = [(point,) for point in points]
    for _ in range(int(os.environ.get("FAULT_ROUNDS", "40"))):
        second = f"{rng.choice(list(times))}:{rng.choice(BOTH)}"
        cases.append((rng.choice(points), second))
    await crash_all(cases, temporal.address, tmp_path, play=play_fork)
    record("crash_points_fork", seed, cases=len(cases))
