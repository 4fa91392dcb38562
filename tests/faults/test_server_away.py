"""Faults 5 and 6: the Temporal server killed and started again, or its file deleted."""

import time
from pathlib import Path

import pytest

from tests.faults.conftest import LedgerAt, sse_words
from tests.faults.report import record
from tests.rig.temporal import TemporalServer
from tests.rig.waiting import until
from tests.rig.world import World

pytestmark = pytest.mark.timeout(300)
"""Ten processes each, on cores that others may use as well; alone, a test takes seconds."""


async def server_away(world: World, server: TemporalServer, away_seconds: float) -> list[str]:
    """Kill the server under load, accept runs meanwhile, start it again on its file."""
    await world.apart()
    await world.agent()
    streaming = await world.start(sse_words(30))
    viewer = world.watch(streaming)
    await viewer.sees("agent_stream_delta", 5)

    server.child.kill()
    killed = time.monotonic()
    accepted = [await world.start(f"say number {number}") for number in range(5)]
    for run_id in accepted:
        assert (await world.run(run_id))["state"] == "CREATED"
    assert (await world.get("/health"))["status"] == "degraded"
    assert (await world.get("/livez"))["status"] == "ok"
    await until("it was away long enough", lambda: time.monotonic() - killed >= away_seconds, 60)
    server.start()

    for number, run_id in enumerate(accepted):
        ended = await world.ended(run_id, 60)
        assert ended["output"]["content"] == f"[offline] number {number}"
    assert await viewer.ends(60) == "run_done"
    return accepted


async def test_the_server_killed_and_started_again(
    own_server: TemporalServer, tmp_path: Path
) -> None:
    """Fault 5: runs are accepted all the while and start once it is back."""
    async with World(tmp_path / "world", own_server.address) as world:
        accepted = await server_away(world, own_server, 0)
        books = await world.check()
    assert len(books.runs) == len(accepted) + 1
    assert all(books.kinds(run_id).count("run_started") == 1 for run_id in books.logs)


@pytest.mark.heavy
@pytest.mark.timeout(300)
async def test_the_server_away_for_half_a_minute(
    own_server: TemporalServer, tmp_path: Path, seed: int
) -> None:
    async with World(tmp_path / "world", own_server.address) as world:
        accepted = await server_away(world, own_server, 30)
        await world.check()
    record("server_away", seed, accepted=len(accepted))


async def test_the_servers_file_deleted(tmp_path: Path, ledger: LedgerAt) -> None:
    """Fault 6: what was in flight ends FAILED once, its events stay, and new work goes on."""
    async with World(tmp_path / "world") as world:
        up = await world.up()
        await world.agent()
        done = await world.start("say kept")
        await world.ended(done)
        lost = await world.start("tokens=5 hang_after=3", session_id="s")
        queued = await world.start("say never", session_id="s")
        viewer = world.watch(lost)
        await viewer.sees("agent_stream_delta")
        waiting = world.watch(queued)
        await waiting.sees("run_waiting")

        up.kill()
        files = list((world.folder / "up").glob("temporal.db*"))
        assert files
        for file in files:
            file.unlink()
        kept = (await world.books()).kinds(lost)
        await world.up()

        for run_id in (lost, queued):
            ended = await world.ended(run_id)
            assert (ended["state"], ended["error"]["code"]) == ("FAILED", "engine_state_lost")
        fresh = await world.start("say new")
        assert (await world.ended(fresh))["state"] == "DONE"
        assert await viewer.ends() == "run_failed"
        books = await world.check(lost=(done, lost, queued))
        assert viewer.count("agent_stream_delta") >= 1
        assert books.kinds(lost)[: len(kept)] == kept
        assert books.kinds(lost).count("run_failed") == 1
        assert books.answer(done) == "[offline] kept"
        asked = [row for row in books.tables["messages"] if row["run_id"] == lost]
        assert asked[0]["role"] == "user"
