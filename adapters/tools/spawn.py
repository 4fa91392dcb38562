"""The `spawn_run` tool as models see it. What it does is a step of the run: activities/children."""

from typing import Annotated, Any

from pydantic import Field

from adapters.tools.decorator import tool
from domain.agent import Limits
from domain.errors import ToolFailedError
from domain.tool import SPAWN_TOOL, Effect


@tool(name=SPAWN_TOOL, effect=Effect.IDEMPOTENT, blocking=False)
def spawn_run(
    agent_id: str,
    input_: Annotated[str, Field(max_length=1_000_000)],
    wait: bool = True,
    limits: Limits | None = None,
) -> dict[str, Any]:
    """Hand a piece of work to another agent: it starts a run of its own and answers.

    Args:
        agent_id: Who does it.
        input_: What it is asked, in full: it sees nothing of this conversation.
        wait: Whether to wait for its answer; false lets it work on its own and returns its run_id.
        limits: Caps of the run; it never gets more than this run has left.
    """
    del agent_id, input_, wait, limits  # only their types count: they are the schema
    raise ToolFailedError("spawn_run works inside a run only")
