"""Scripts of runs that have others work for them, and what became of those."""

from domain.event import EventType
from domain.family import child_run_id
from domain.run import Run, RunState
from tests.rig.scripts import hand_down
from tests.workflows.stage import Stage


def spawning(input_: str, agent: str = "worker", **more: object) -> str:
    """Return a line of a script that has another agent work."""
    return hand_down(input_, agent, **more)


def then_say(*lines: str) -> str:
    return "\n".join(lines) + "\n---\nsay {result}"


async def child_of(stage: Stage, run: Run, step: str = "tool-1-0") -> Run:
    return await stage.get(child_run_id(run.run_id, step))


async def answer_of(stage: Stage, run: Run) -> str:
    ended = await stage.ended(run.run_id)
    assert ended.state is RunState.DONE, ended.error
    assert ended.output is not None
    return str(ended.output["content"])


async def refusals(stage: Stage, run: Run) -> list[str]:
    await stage.ended(run.run_id)
    results = await stage.of_kind(run.run_id, EventType.TOOL_RESULT)
    return [result["error"]["code"] for result in results if result["error"]]
