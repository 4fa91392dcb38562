"""Answers of the seeds' paths that are not native ones."""

from typing import Any

from pydantic import AwareDatetime

from api.shapes.catalog import ToolOut
from api.shapes.pieces import Shape


class SeedInvokedOut(Shape):
    """A run that was started, as seed B answers."""

    run_id: str
    session_id: str
    agent_id: str | None


class PoolAnswerOut(Shape):
    """How a request to the pool went, as seed C answers."""

    request_id: str
    tool_call_id: str
    tool_name: str
    success: bool
    result: Any
    error: str | None
    duration_ms: int


class SlotOut(Shape):
    """One place of a worker where steps run: seed C calls it an agent of the pool."""

    id: str
    state: str
    current_step: str | None
    processed: int
    succeeded: int
    failed: int
    busy_ms: int
    utilization: float
    started_at: AwareDatetime


class SlotList(Shape):
    """The pool."""

    agents: list[SlotOut]
    count: int


class PoolToolList(Shape):
    """The pool's tools."""

    tools: list[ToolOut]
    count: int


class PoolStatsOut(Shape):
    """Figures of the pool and its requests. Times in milliseconds."""

    total_requests: int
    successful_requests: int
    failed_requests: int
    cancelled_requests: int
    active_requests: int
    queue_capacity: int
    success_rate: float | None
    average_processing_ms: float | None
    p50_processing_ms: float | None
    p95_processing_ms: float | None
    wait_p95_ms: float | None
    total_agents: int
    idle_agents: int
    busy_agents: int
    agent_utilization: float
    agents: list[SlotOut]
