"""Tool hosts and requests to clients, as callers get them."""

from typing import Annotated, Any

from pydantic import AwareDatetime, ConfigDict, Field, JsonValue

from api.shapes.catalog import ToolOut
from api.shapes.pieces import CodeAndMessage, Page, Shape, example
from domain.clients import RequestStatus
from domain.tool import Effect


class HostOut(Shape):
    """A client that runs tools."""

    host_id: str
    tools: list[ToolOut]
    lease_seconds: float
    is_there: Annotated[bool, Field(description="Whether it was heard of within its lease.")]
    alive_until: AwareDatetime
    created_at: AwareDatetime
    updated_at: AwareDatetime


class HostList(Page):
    """A page of tool hosts."""

    tool_hosts: list[HostOut]


class BeatOut(HostOut):
    """A host that was heard of, and what became of what it works on."""

    kept: list[str]
    lost: list[str]


_REQUEST: dict[str, JsonValue] = {
    "tool_call_id": "tc_01k9",
    "run_id": "run_01k9",
    "tool_name": "read_sensor",
    "args": {"sensor": "kitchen"},
    "effect": "none",
    "idempotency_key": "run_01k9:tc_01k9",
    "host_id": None,
    "status": "taken",
    "dispatch": 1,
    "holder": "laptop-1",
    "lease_until": "2026-11-20T10:00:30.000Z",
    "deadline": "2026-11-20T10:01:00.000Z",
    "token": "dt_4f5e1c6ad4d0f2c3a7c5f8e5b1f0a6d9c2e3b4a5968",
}


class RequestOut(Shape):
    """A tool call that a client is asked to run."""

    tool_call_id: str
    run_id: str
    tool_name: str
    args: Any
    effect: Effect
    idempotency_key: str
    host_id: str | None
    status: RequestStatus
    dispatch: Annotated[int, Field(description="How often it was handed out.")]
    holder: str | None
    lease_until: Annotated[
        AwareDatetime | None, Field(description="Beat before; null: held until the deadline.")
    ]
    deadline: AwareDatetime


class RequestList(Shape):
    """Requests that wait, oldest first."""

    requests: list[RequestOut]


class DispatchOut(RequestOut):
    """A request that was handed out. The `token` is in this answer and nowhere else."""

    model_config = ConfigDict(json_schema_extra=example(_REQUEST))

    token: str


class DispatchList(Shape):
    """Requests that were handed out."""

    requests: list[DispatchOut]


class SeedRegisteredOut(Shape):
    """Seed B's answer to a registration."""

    ok: bool
    registered_count: int


class SeedSubmittedOut(Shape):
    """Seed B's answer to a result; `status` is in capitals, the time in ms."""

    tool_call_id: str
    status: str
    result: Any
    error: CodeAndMessage | None
    completed_at: int | None
