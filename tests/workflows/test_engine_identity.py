"""A store knows its engine: behind a foreign one nothing fails, and what is lost ends once."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.acceptance import Page, RunFilter
from domain.errors import EngineUnavailableError
from domain.event import EventType
from tests.rig.temporal import TemporalServer
from tests.workflows.conftest import Make
from tests.workflows.stage import Stage


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TemporalServer]:
    """Another server: to the store it looks like its own whose file was lost."""
    server = TemporalServer(tmp_path_factory.mktemp("foreign")).start()
    yield server
    server.close()


@pytest.fixture
async def left(make_stage: Make, empty_store: Path, tmp_path: Path) -> dict[str, Any]:
    """A store with a run that has finished a turn and a tool, one that waits for its session, and
    one that the engine has never heard of; as options of the next stage."""
    path = tmp_path / "left.db"
    path.write_bytes(empty_store.read_bytes())
    options = {"store": path, "task_queue": f"q-{uuid.uuid4().hex}"}
    async with make_stage(**options) as stage:
        await stage.agent(models=("openai/stub",), tools=["calculator"])
        stage.provider.controls = {"stub": "[[first_ms=60000]]"}
        work = '[[tool=calculator args={"expression":"6*7"}]] work'
        begun = await stage.start(work, session_id="begun")
        await stage.seen(begun.run_id, EventType.LLM_CALL_STARTED, 2)
        queued = await stage.start("[[say=second]]", session_id="begun")
        await stage.seen(queued.run_id, EventType.RUN_WAITING)
        stage.gateway.mismatch = "the line is cut"
        await stage.start("[[say=fresh]]", session_id="fresh")
        await stage.rest()
    return options


async def ends(stage: Stage) -> list[tuple[str | None, str, str | None]]:
    """Return session, state and reason of every run, in the order of acceptance."""
    runs, _ = await stage.storage.runs.list_runs(None, RunFilter(), Page())
    return [
        (run.session_id, run.state.value, run.error.code if run.error else None)
        for run in sorted(runs, key=lambda run: run.run_id)
    ]


async def all_ended(stage: Stage) -> None:
    for row in await stage.rows("SELECT run_id FROM runs"):
        await stage.ended(row["run_id"])


async def test_behind_a_foreign_cluster_nothing_fails_and_nothing_starts(
    make_stage: Make, foreign: TemporalServer, left: dict[str, Any]
) -> None:
    async with make_stage(**left, address=foreign.address) as stage:
        said = await stage.gateway.check()
        with pytest.raises(EngineUnavailableError, match="engine_mismatch"):
            await stage.reconcile()
        await stage.start("say more", session_id="more")

        assert said is not None
        assert said.startswith("engine_mismatch")
        assert await ends(stage) == [
            ("begun", "RUNNING", None),
            ("begun", "RUNNING", None),
            ("fresh", "CREATED", None),
            ("more", "CREATED", None),
        ]


async def test_back_on_its_own_cluster_everything_goes_on(
    make_stage: Make, foreign: TemporalServer, left: dict[str, Any]
) -> None:
    async with make_stage(**left, address=foreign.address) as stage:
        await stage.start("say more", session_id="more")

    async with make_stage(**left) as stage:
        await all_ended(stage)

        assert {state for _, state, _ in await ends(stage)} == {"DONE"}
        assert [entry.messages for entry in stage.provider.log if entry.messages > 1] != []


async def test_what_a_lost_engine_knew_ends_once_and_what_it_did_not_know_starts(
    make_stage: Make, foreign: TemporalServer, left: dict[str, Any]
) -> None:
    async with make_stage(**left, address=foreign.address, is_ours=True) as stage:
        await all_ended(stage)

        assert await ends(stage) == [
            ("begun", "FAILED", "engine_state_lost"),
            ("begun", "FAILED", "engine_state_lost"),
            ("fresh", "DONE", None),
        ]
        for row in await stage.rows("SELECT run_id FROM runs WHERE state = 'FAILED'"):
            assert (await stage.kinds(row["run_id"])).count("run_failed") == 1
        assert await stage.reconcile() == {}
        messages = await stage.rows("SELECT role FROM messages WHERE session_id = 'begun'")
        assert [row["role"] for row in messages].count("user") == 2, "what was said is kept"


async def test_restart_unfinished_takes_finished_steps_over(
    make_stage: Make, foreign: TemporalServer, left: dict[str, Any]
) -> None:
    async with make_stage(**left, address=foreign.address, is_ours=True, works=False) as stage:
        await stage.work(restarts_missing=True)
        await all_ended(stage)

        assert {state for _, state, _ in await ends(stage)} == {"DONE"}
        calls = [(entry.messages, entry.outcome) for entry in stage.provider.log]
        assert len(calls) == 3, "the second turn, the queued run, the fresh one: no first turn"
        attempts = await stage.rows("SELECT step_id, attempt FROM steps WHERE step_id = 'llm-1-1'")
        assert {row["attempt"] for row in attempts} == {1}


async def test_a_cluster_that_becomes_another_one_fails_nothing(
    make_stage: Make, tmp_path: Path
) -> None:
    """The same address, a new file behind it, and a worker that was there all the time."""
    folder = tmp_path / "engine"
    folder.mkdir()
    server = TemporalServer(folder).start()
    try:
        async with make_stage(address=server.address, passes=False) as stage:
            run = await stage.start("stall", session_id="begun")
            await stage.seen(run.run_id, EventType.LLM_CALL_STARTED)

            server.child.kill()
            for file in folder.glob("temporal.db*"):
                file.unlink()
            server.start()

            async def is_another() -> bool:
                said = await stage.gateway.check()
                return said is not None and said.startswith("engine_mismatch")

            with pytest.raises(EngineUnavailableError):
                await stage.reconcile()
            await stage.until("the gateway sees that it is another one", is_another)
            with pytest.raises(EngineUnavailableError, match="engine_mismatch"):
                await stage.reconcile()
            assert await ends(stage) == [("begun", "RUNNING", None)]
    finally:
        server.close()
