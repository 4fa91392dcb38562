"""Dead letters, as callers get them."""

from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from api.shapes.pieces import JsonObject, Page, Shape, example
from domain.deadletter import DeadLetterStatus


class DeadLetterOut(Shape):
    """A run that was given up on because one of its steps kept failing."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "dead_letter_id": "dl_01k9",
                "run_id": "run_01k9",
                "session_id": "sess_01k9",
                "agent_id": "assistant",
                "code": "poison_step",
                "reason": "step tool-1-0 of run run_01k9 was opened 10 times without an outcome",
                "step": "tool-1-0",
                "input": {"role": "user", "content": "resize the picture"},
                "status": "waiting",
                "redriven_as": None,
                "note": None,
                "settled_by": None,
                "settled_at": None,
                "created_at": "2026-11-20T10:00:00.000Z",
            }
        )
    )

    dead_letter_id: str
    run_id: str
    session_id: str | None
    agent_id: str | None
    code: str
    reason: str
    step: Annotated[str, Field(description="The step that kept failing.")]
    input: JsonObject
    status: DeadLetterStatus
    redriven_as: Annotated[str | None, Field(description="The run that was made of it.")]
    note: str | None
    settled_by: Annotated[str | None, Field(description="The credential that settled it.")]
    settled_at: AwareDatetime | None
    created_at: AwareDatetime


class DeadLetterList(Page):
    """A page of dead letters."""

    dead_letters: list[DeadLetterOut]
