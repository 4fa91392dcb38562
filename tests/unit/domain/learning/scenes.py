"""Runs that can teach, and a memory to teach."""

from typing import Any

from domain.learning.lessons import RunFacts
from domain.run import RunState


def facts(run_id: str = "run_1", **fields: Any) -> RunFacts:
    values: dict[str, Any] = {
        "owner": "ann",
        "agent_id": "cook",
        "request": "bake a cake",
        "state": RunState.DONE,
        "task_class": "question",
    }
    return RunFacts(run_id=run_id, **{**values, **fields})
