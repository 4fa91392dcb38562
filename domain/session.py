"""Sessions and messages: a conversation in order. Decides nothing about runs."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from domain.chat import Role, ToolCallRequest

SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}$")]


class OnBusy(StrEnum):
    """What happens to a message that arrives while a run holds the session."""

    ENQUEUE = "enqueue"
    """It waits for its turn, first in, first out."""
    REJECT = "reject"
    """It is refused with 409."""
    INTERRUPT = "interrupt"
    """The runs before it are stopped, whether they work or wait; what was said stays said."""
    STEER = "steer"
    """The run that holds the session sees it before its next model call."""


class Session(BaseModel):
    """A conversation. `active_run_id` holds it; `queued_run_ids` wait in order."""

    model_config = ConfigDict(frozen=True)

    session_id: str
    owner: str
    agent_id: str | None
    on_busy: OnBusy
    message_count: int
    token_count: int
    active_run_id: str | None
    queued_run_ids: tuple[str, ...]
    created_at: int
    metadata: dict[str, Any]


class Message(BaseModel):
    """One entry of a transcript. `seq` counts from 1; None while its run waits for the session."""

    model_config = ConfigDict(frozen=True)

    message_id: str
    session_id: str
    run_id: str | None
    seq: int | None
    role: Role
    content: str
    tool_calls: tuple[ToolCallRequest, ...] = ()
    tool_call_id: str | None = None
    agent_id: str | None = None
    tokens: int = 0
    """An estimate for people's messages, the provider's count for a model's."""
    partial: bool = False
    """A cancel cut this answer."""
    created_at: int


def estimate_tokens(text: str) -> int:
    """Return a rough token count: a token for every four characters, at least one."""
    return max(1, (len(text) + 3) // 4)
