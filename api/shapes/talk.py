"""Sessions and messages, as callers get them."""

from typing import Literal

from pydantic import AwareDatetime, ConfigDict

from api.shapes.pieces import JsonObject, Page, Shape, example
from domain.session import OnBusy


class SessionOut(Shape):
    """A conversation."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "session_id": "sess_01k9",
                "agent_id": "assistant",
                "on_busy": "enqueue",
                "message_count": 2,
                "token_count": 31,
                "active_run_id": None,
                "queued_run_ids": [],
                "created_at": "2026-11-20T10:00:00.000Z",
                "metadata": {},
            }
        )
    )

    session_id: str
    agent_id: str | None
    on_busy: OnBusy
    message_count: int
    token_count: int
    active_run_id: str | None
    queued_run_ids: list[str]
    created_at: AwareDatetime
    metadata: JsonObject


class SessionList(Page):
    """A page of sessions."""

    sessions: list[SessionOut]


class ToolCallAsked(Shape):
    """A call that a model asked for; `arguments` as it wrote them."""

    call_id: str
    name: str
    arguments: str


class MessageOut(Shape):
    """One entry of a transcript; `seq` is null while its run waits for the session.

    It stays null where that run was cancelled before its turn: the message was taken back.
    """

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "message_id": "msg_01k9",
                "session_id": "sess_01k9",
                "run_id": "run_01k9",
                "seq": 1,
                "role": "user",
                "content": "What is 6 * 7?",
                "agent_id": None,
                "tokens": 4,
                "created_at": "2026-11-20T10:00:00.000Z",
            }
        )
    )

    message_id: str
    session_id: str
    run_id: str | None
    seq: int | None
    role: Literal["system", "user", "assistant", "tool"]
    content: str
    tool_calls: list[ToolCallAsked] | None = None
    tool_call_id: str | None = None
    partial: bool | None = None
    agent_id: str | None = None
    tokens: int
    created_at: AwareDatetime


class MessageList(Page):
    """A page of a transcript."""

    messages: list[MessageOut]


class ClearedOut(Shape):
    """How many messages went."""

    deleted: int
