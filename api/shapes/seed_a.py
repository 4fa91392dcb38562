"""Answers of seed A's paths.

Source: https://github.com/clawinfra/evoclaw docs/api/rest-api.md
"""

from typing import Any

from pydantic import AwareDatetime, Field, RootModel

from api.shapes.pieces import JsonObject, Shape


class SeedMemoryFigures(Shape):
    """How much is in transcripts."""

    total_entries: int
    total_tokens: int


class SeedStatusOut(Shape):
    """How the place is. `uptime` is in nanoseconds."""

    version: str
    uptime: int
    agents: int
    models: int
    memory: SeedMemoryFigures
    total_cost: float


class SeedDashboardOut(SeedStatusOut):
    """The same with sums over all agents."""

    evolving_agents: int
    total_requests: int
    total_tokens_in: int
    total_tokens_out: int
    total_messages: int
    total_errors: int
    total_actions: int
    success_rate: float
    timestamp: AwareDatetime


class SeedMetrics(Shape):
    """What an agent did and what that cost."""

    total_actions: int
    successful_actions: int
    failed_actions: int
    avg_response_ms: float
    tokens_used: int
    cost_usd: float
    custom: JsonObject


class SeedAgentDef(Shape):
    """An agent as it was made."""

    id: str
    name: str
    type: str
    model: str
    systemPrompt: str  # noqa: N815 - the seed's own name
    skills: list[str]
    config: JsonObject
    container: JsonObject


class SeedAgentOut(Shape):
    """An agent. `status` is idle, running, error or evolving."""

    id: str
    definition: SeedAgentDef = Field(alias="def")
    status: str
    started_at: AwareDatetime
    last_active: AwareDatetime
    last_heartbeat: AwareDatetime
    message_count: int
    error_count: int
    metrics: SeedMetrics


class SeedAgentList(RootModel[list[SeedAgentOut]]):
    """The agents."""


class SeedMetricsOut(Shape):
    """The metrics of one agent. `uptime` is in seconds."""

    agent_id: str
    metrics: SeedMetrics
    status: str
    uptime: float


class SeedSaid(Shape):
    """Who said what."""

    role: str
    content: str


class SeedMemoryOut(Shape):
    """What an agent remembers of a conversation."""

    agent_id: str
    message_count: int
    total_tokens: int
    messages: list[SeedSaid]


class SeedClearedOut(Shape):
    """What was done."""

    message: str
    agent_id: str


class SeedModelOut(Shape):
    """A model and its price in USD per million tokens."""

    ID: str
    Provider: str
    Config: dict[str, Any]


class SeedModelList(RootModel[list[SeedModelOut]]):
    """The models."""


class SeedCost(Shape):
    """What a model cost. `LastRequestTime` is in seconds since the epoch."""

    TotalRequests: int
    TotalTokensIn: int
    TotalTokensOut: int
    TotalCostUSD: float
    LastRequestTime: int


class SeedCosts(RootModel[dict[str, SeedCost]]):
    """What each model cost."""


class SeedChatOut(Shape):
    """An agent's answer."""

    agent_id: str
    response: str
    model: str
    elapsed_ms: int
    tokens_input: int
    tokens_output: int
    timestamp: AwareDatetime
