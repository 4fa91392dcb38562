"""A crash at every commit boundary: before the commit, after it, then a process without a fault."""

import json
import os
import random
from pathlib import Path

import pytest

from tests.faults.crashes import BOTH, before_and_after, commits_in, crash_all
from tests.faults.plays import MAIN, PLAYS, SMALL
from tests.faults.report import record
from tests.rig.roles import was_killed
from tests.rig.temporal import TemporalServer
from tests.rig.world import World
from tests.stub.ledger import Ledger


@pytest.mark.timeout(300)
@pytest.mark.parametrize("names", [MAIN[:4], MAIN[4:]], ids=["head", "tail"])
async def test_a_session_crashed_at_every_commit(
    names: tuple[str, ...], temporal: TemporalServer, tmp_path: Path
) -> None:
    await crash_all(before_and_after(list(names)), temporal.address, tmp_path)


@pytest.mark.timeout(300)
async def test_rarer_commits_crashed(temporal: TemporalServer, tmp_path: Path) -> None:
    await crash_all(before_and_after(list(SMALL)), temporal.address, tmp_path)


def test_every_commit_has_a_play() -> None:
    """The names stand in the code once: a new commit needs a place here."""
    named: set[str] = set()
    for book in ("stepbook", "runbook", "approvalbook", "deadletters", "familybook"):
        text = next(Path("adapters/store").rglob(f"{book}.py")).read_text()
        named |= commits_in(text)
    assert named == set(PLAYS)


@pytest.mark.parametrize("point", ["close_step:after", "close_tool:after"])
async def test_an_end_that_was_not_reported_is_handed_on(
    temporal: TemporalServer, tmp_path: Path, ledger: tuple[Ledger, str], point: str
) -> None:
    """A heartbeat's timeout would outlast the test."""
    patient = {"ORCHESTRATOR_HEARTBEAT_SECONDS": "300"}
    async with World(tmp_path / "world", temporal.address, settings=patient) as world:
        first = await world.up(ORCHESTRATOR_CRASH_POINT=point)
        agent = await world.agent("clerk", tools=("charge_keyed",))
        args = json.dumps({"url": ledger[1]})
        run_id = await world.start(f"call charge_keyed {args}\n---\nsay paid", agent)
        assert was_killed(await first.died())

        await world.up()

        assert (await world.ended(run_id, 60))["state"] == "DONE"
        assert [effect.arrivals for effect in ledger[0].effects.values()] == [1]
        await world.check()


@pytest.mark.heavy
@pytest.mark.timeout(3600)
async def test_a_seeded_loop_over_all_crash_points(
    temporal: TemporalServer, tmp_path: Path, seed: int
) -> None:
    """Each point by itself, at its first or a later time; then random pairs."""
    rng = random.Random(seed)
    cases: list[tuple[str, ...]] = [
        (f"{n}:{when}",) for n in PLAYS if n != "release_attempt" for when in BOTH
    ]
    cases += [
        (f"{name}:{when}:2",)
        for name in ("open_step", "append_delta", "close_step")
        for when in BOTH
    ]
    for _ in range(int(os.environ.get("FAULT_ROUNDS", "40"))):
        names = [rng.choice(MAIN) for _ in range(rng.randint(1, 3))]
        cases.append(tuple(f"{name}:{rng.choice(BOTH)}" for name in names))
    await crash_all(cases, temporal.address, tmp_path)
    record("crash_points", seed, cases=len(cases))
