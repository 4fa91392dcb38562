"""An agent made with `examples/agent_kit.py` asks another one while the orchestrator stops."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.rig.temporal import TemporalServer
from tests.rig.world import World

EXAMPLES = Path(__file__).parents[2] / "examples"
WORDS = 60
PLANNER = f"""
import sys
sys.path.insert(0, {str(EXAMPLES)!r})
from agent_kit import Agent
agent = Agent("planner", "Planner")

@agent.handler
def answer(call):
    yield "asked: "
    yield call.ask("helper", "tokens={WORDS} gap_ms=40")

agent.serve(0, register_at=sys.argv[1])
"""


@asynccontextmanager
async def planner(url: str) -> AsyncIterator[None]:
    """Serve the agent, registered, while the block runs."""
    command = [sys.executable, "-c", PLANNER, url]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe)
    try:
        assert process.stdout is not None
        assert b"agent on" in await process.stdout.readline()
        yield
    finally:
        process.kill()
        await process.wait()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
async def test_what_an_agent_asked_for_is_answered_by_the_next_process(
    temporal: TemporalServer, tmp_path: Path, how: signal.Signals
) -> None:
    async with World(tmp_path / "world", temporal.address) as world:
        role = await world.up()
        await world.agent("helper")
        async with planner(world.url):
            run_id = await world.start("go", "planner")
            viewer = world.watch(run_id)
            await viewer.sees("agent_spawned")
            (spawned,) = [e for e in viewer.events if e["type"] == "agent_spawned"]
            child = spawned["data"]["child_run_id"]
            await world.watch(child).sees("agent_stream_delta", 3)
            role.send(how)
            await role.died()

            await world.up()
            run = await world.ended(run_id, 90)

        books = await world.check()
        assert (run["state"], run["error"]) == ("DONE", None)
        words = " ".join(f"t{n}" for n in range(WORDS))
        assert books.answer(run_id) == f"asked: [offline] {words}"
        assert {row["run_id"] for row in books.runs} == {run_id, child}
