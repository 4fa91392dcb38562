"""Parameters that many routes take."""

import re
from typing import Annotated

from fastapi import Header, Path, Query
from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from api.late import LateModel
from api.moments import Time
from domain.approval import ApprovalStatus
from domain.costs import CostBy
from domain.deadletter import DeadLetterStatus
from domain.event import EventType
from domain.learning.feedback import FeedbackStatus
from domain.run import RunKind, RunState
from domain.tool import ToolCallStatus

_ID = r"^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}$"
_BIGGEST = 2**53


def _plain(value: object) -> object:
    """Refuse what only Python takes for a number: `1_0`, ` 10`, `10.0`."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+", value):
        raise PydanticCustomError("int_parsing", "write a whole number in digits")
    return value


_DIGITS = BeforeValidator(_plain)
"""Behind the bounds of a parameter: before them it would hide them from its schema."""

RunId = Annotated[str, Path(pattern=_ID, examples=["run_01k9"])]
SessionKey = Annotated[str, Path(pattern=_ID, examples=["sess_01k9"])]
AgentKey = Annotated[str, Path(pattern=_ID, examples=["assistant"])]
ToolName = Annotated[str, Path(pattern=_ID, examples=["calculator"])]
ToolCallId = Annotated[str, Path(pattern=_ID, examples=["tc_01k9"])]
DeadLetterId = Annotated[str, Path(pattern=_ID, examples=["dl_01k9"])]
ApprovalId = Annotated[str, Path(pattern=_ID, examples=["ap_01k9"])]
HostKey = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$", examples=["laptop-1"])]
ScheduleKey = Annotated[str, Path(pattern=_ID, examples=["morning-report"])]
KeyId = Annotated[str, Path(pattern=_ID, examples=["key_01k9"])]
GoalId = Annotated[str, Path(pattern=_ID, examples=["goal_01k9"])]
BudgetId = Annotated[str, Path(pattern=_ID, examples=["budget_01k9"])]

Limit = Annotated[int, Query(ge=1, le=1000, description="Most items of this page."), _DIGITS]
Cursor = Annotated[
    str | None,
    Query(pattern=r"^[\x21-\x7e]{1,500}$", description="`next_cursor` of the last page."),
]
Wait = Annotated[
    float | None,
    Query(ge=0, le=3600, description="Seconds to wait for the end; 200 when it came in time."),
]
IDEMPOTENCY = re.compile(r"^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$")
IdempotencyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=IDEMPOTENCY.pattern,
        description="Makes a repeated request return what the first one made; kept for 24 hours.",
    ),
]


class EventQuery(LateModel):
    """Which events."""

    after_seq: Annotated[
        int, Field(ge=0, le=_BIGGEST, description="After this `seq`."), _DIGITS
    ] = 0
    after_ts: Annotated[
        int | None, Field(ge=0, le=_BIGGEST, description="Later than this, in ms. Seed B."), _DIGITS
    ] = None
    cursor: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z0-9_-]{1,20000}$", description="`next_cursor` of the last page."),
    ] = None
    types: Annotated[
        str | None,
        Field(pattern=r"^[a-z_]{1,60}(,[a-z_]{1,60}){0,49}$", description="Types, by commas."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most events of a page."), _DIGITS] = 100
    tree: Annotated[
        bool, Field(description="The runs below it too, in one order; `id` is then a cursor.")
    ] = False

    @field_validator("types")
    @classmethod
    def _are_known(cls, types: str | None) -> str | None:
        """Refuse a type that no event has: a filter by it would wait for nothing."""
        known = frozenset(EventType)
        for name in types.split(",") if types else ():
            if name not in known:
                sentence = "there is no event type {name}"
                raise PydanticCustomError("event_type", sentence, {"name": name})
        return types

    @model_validator(mode="after")
    def _has_a_cursor_of_its_kind(self) -> "EventQuery":
        is_seq = self.cursor is None or (self.cursor.isdigit() and len(self.cursor) <= 15)
        if not self.tree and not is_seq:
            raise PydanticCustomError("cursor", "the cursor is not one of this list")
        return self

    @property
    def start(self) -> int:
        """Return the `seq` after which to begin."""
        return max(self.after_seq, int(self.cursor or 0))

    @property
    def wanted(self) -> frozenset[str] | None:
        """Return the types asked for, None for all."""
        return frozenset(self.types.split(",")) if self.types else None


class RunQuery(LateModel):
    """Which runs."""

    state: RunState | None = None
    agent_id: Annotated[str | None, Field(pattern=_ID)] = None
    session_id: Annotated[str | None, Field(pattern=_ID)] = None
    kind: RunKind | None = None
    goal_id: Annotated[str | None, Field(pattern=_ID, description="Those for this goal.")] = None
    forked_from: Annotated[str | None, Field(pattern=_ID, description="Forks of this run.")] = None
    parent_run_id: Annotated[str | None, Field(pattern=_ID, description="Its children.")] = None
    root_run_id: Annotated[str | None, Field(pattern=_ID, description="It, and all below it.")] = (
        None
    )
    limit: Annotated[int, Field(ge=1, le=1000, description="Most runs of a page."), _DIGITS] = 100
    cursor: Annotated[
        str | None,
        Field(pattern=r"^[\x21-\x7e]{1,500}$", description="`next_cursor` of the last page."),
    ] = None


class FeedbackQuery(LateModel):
    """Which feedback."""

    run_id: Annotated[str | None, Field(pattern=_ID)] = None
    agent_id: Annotated[str | None, Field(pattern=_ID)] = None
    status: FeedbackStatus | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most entries of a page."), _DIGITS] = (
        100
    )
    cursor: Annotated[
        str | None,
        Field(pattern=r"^[\x21-\x7e]{1,500}$", description="`next_cursor` of the last page."),
    ] = None


class DeadLetterQuery(LateModel):
    """Which dead letters."""

    status: DeadLetterStatus | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most entries of a page."), _DIGITS] = (
        100
    )
    cursor: Annotated[
        str | None,
        Field(pattern=r"^[\x21-\x7e]{1,500}$", description="`next_cursor` of the last page."),
    ] = None


class MessageQuery(LateModel):
    """Which messages of a transcript."""

    limit: Annotated[int, Field(ge=1, le=1000, description="Most messages of a page."), _DIGITS] = (
        50
    )
    cursor: Annotated[
        str | None,
        Field(pattern=r"^[\x21-\x7e]{1,500}$", description="`next_cursor` of the last page."),
    ] = None
    before: Annotated[
        str | None, Field(pattern=r"^[\x21-\x7e]{1,500}$", description="Read back from here.")
    ] = None


class _ToolCallQuery(LateModel):
    """Which tool calls."""

    run_id: Annotated[str | None, Field(pattern=_ID)] = None
    status: ToolCallStatus | None = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most calls of a page."), _DIGITS] = 100
    cursor: Annotated[
        str | None,
        Field(pattern=r"^[\x21-\x7e]{1,500}$", description="`next_cursor` of the last page."),
    ] = None


class ApprovalQuery(LateModel):
    """Which approvals."""

    status: ApprovalStatus | None = None
    run_id: Annotated[str | None, Field(pattern=_ID)] = None
    limit: Annotated[
        int, Field(ge=1, le=1000, description="Most approvals of a page."), _DIGITS
    ] = 100
    cursor: Annotated[
        str | None,
        Field(pattern=r"^[\x21-\x7e]{1,500}$", description="`next_cursor` of the last page."),
    ] = None


class ScheduleQuery(LateModel):
    """Which schedules, or which of their firings."""

    limit: Annotated[int, Field(ge=1, le=1000, description="Most items of a page."), _DIGITS] = 100
    cursor: Annotated[
        str | None,
        Field(pattern=r"^[\x21-\x7e]{1,500}$", description="`next_cursor` of the last page."),
    ] = None


_Id = Annotated[str | None, Field(pattern=_ID)]


class CostQuery(LateModel):
    """Which calls, summed up by what."""

    by: CostBy = CostBy.MODEL
    since: Annotated[Time | None, Field(description="Calls that ended then or later.")] = None
    until: Annotated[Time | None, Field(description="Calls that ended before then.")] = None
    run_id: _Id = None
    root_run_id: Annotated[_Id, Field(description="A run and all below it.")] = None
    agent_id: _Id = None
    session_id: _Id = None
    goal_id: Annotated[_Id, Field(description="A goal and the goals below it.")] = None
    key_id: _Id = None
    model: Annotated[str | None, Field(pattern=r"^[\x21-\x7e]{1,300}$")] = None
    limit: Annotated[int, Field(ge=1, le=1000, description="Most sums of a page."), _DIGITS] = 100
    cursor: Annotated[
        str | None,
        Field(pattern=r"^[\x21-\x7e]{1,500}$", description="`next_cursor` of the last page."),
    ] = None


ToolCallQuery = Annotated[_ToolCallQuery, Query()]
LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="Resume after this event; wins over `after_seq`."),
]
