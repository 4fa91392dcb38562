"""Approvals, as callers get them."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field, JsonValue

from api.shapes.pieces import Page, Shape, example
from domain.approval import ApprovalStatus, Remember, Risk
from domain.policy import OnTimeout
from domain.tool import ToolCallStatus

_EXAMPLE: dict[str, JsonValue] = {
    "approval_id": "ap_01k9",
    "run_id": "run_01k9",
    "session_id": "sess_01k9",
    "agent_id": "assistant",
    "kind": "tool",
    "budget_id": None,
    "tool_call_id": "tc_01k9",
    "tool_name": "wire",
    "args": {"to": "bob", "amount": 150},
    "args_summary": 'wire(to="bob", amount=150)',
    "args_digest": "4f5e1c6ad4d0f2c3a7c5f8e5b1f0a6d9c2e3b4a59687786952a1b0c3d4e5f607",
    "risk": "high",
    "why": "amounts over 100 are asked for",
    "asker": "agent assistant",
    "asks": None,
    "on_timeout": "reject",
    "status": "pending",
    "edited_args": None,
    "edited_digest": None,
    "remember": "none",
    "decided_by": None,
    "decided_at": None,
    "reason": None,
    "requested_at": "2026-11-20T10:00:00.000Z",
    "expires_at": None,
    "may_remember": True,
}


class ApprovalOut(Shape):
    """A question to a person about one tool call."""

    model_config = ConfigDict(json_schema_extra=example(_EXAMPLE))

    approval_id: str
    run_id: str
    session_id: str | None
    agent_id: str | None
    kind: Annotated[
        Literal["tool", "budget"],
        Field(description="A tool call waits for it, or a run that needs more money."),
    ]
    budget_id: Annotated[str | None, Field(description="The budget that an approval raises.")]
    tool_call_id: str | None
    tool_name: str
    args: Any
    args_summary: Annotated[str, Field(description="The call on one line, safe to show.")]
    args_digest: Annotated[
        str, Field(description="SHA-256 of the JSON of `{arguments, tool, tool_call_id}`.")
    ]
    risk: Risk
    why: Annotated[str, Field(description="The policy's reason to ask.")]
    asker: str
    asks: Annotated[str | None, Field(description="Who is asked now, after an escalation.")]
    on_timeout: OnTimeout
    status: ApprovalStatus
    edited_args: Any
    edited_digest: str | None
    remember: Remember
    decided_by: Annotated[str | None, Field(description="The credential that decided.")]
    decided_at: AwareDatetime | None
    reason: str | None
    requested_at: AwareDatetime
    expires_at: AwareDatetime | None
    may_remember: Annotated[
        bool,
        Field(description="False where untrusted text raised the bar: `remember` is refused."),
    ]


class DecidedOut(ApprovalOut):
    """A question that was just answered, and where its call stands."""

    model_config = ConfigDict(json_schema_extra={})

    tool_call_status: Annotated[
        ToolCallStatus | None, Field(description="Null where a budget was asked about.")
    ]


class ApprovalList(Page):
    """A page of approvals."""

    approvals: list[ApprovalOut]
