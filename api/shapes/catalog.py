"""Agents, tools, models and keys, as callers get them."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from api.shapes.pieces import JsonObject, Money, Page, Shape, example
from domain.agent import AgentKind
from domain.agenthealth import Circuit, Health
from domain.principal import Scope
from domain.tool import Effect


class LimitsOut(Shape):
    """Caps of each run of an agent; null means the default."""

    max_turns: int | None
    max_tool_calls: int | None
    max_tokens: int | None
    max_cost_usd: Money
    max_seconds: float | None
    max_depth: int | None
    max_children: int | None
    max_spawns: int | None


class AgentHealthOut(Shape):
    """How an external agent is. `version` and `capabilities` are what it says of itself."""

    status: Health
    circuit: Circuit
    last_seen: AwareDatetime | None
    checked_at: AwareDatetime | None
    error: str | None
    version: str | None
    capabilities: list[str]


class DegradationOut(Shape):
    """What an agent says when none of its models can."""

    models: list[str]
    keywords: dict[str, str]
    static: str | None


class AgentOut(Shape):
    """Something that can do a run. `health` is null for an agent that runs here."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "agent_id": "tutor",
                "kind": "llm",
                "name": "Tutor",
                "description": "explains mathematics",
                "instructions": "Explain step by step.",
                "models": ["offline/assistant"],
                "tools": ["calculator"],
                "endpoint": None,
                "capabilities": [],
                "limits": {
                    "max_turns": 10,
                    "max_tool_calls": None,
                    "max_tokens": None,
                    "max_cost_usd": "0.50",
                    "max_seconds": None,
                    "max_depth": None,
                    "max_children": None,
                    "max_spawns": None,
                },
                "degradation": {"models": [], "keywords": {}, "static": None},
                "escalate": False,
                "tool_policy": {},
                "status": "active",
                "health": None,
                "metadata": {},
                "created_at": "2026-11-20T10:00:00.000Z",
                "updated_at": "2026-11-20T10:00:00.000Z",
            }
        )
    )

    agent_id: str
    kind: AgentKind
    name: str
    description: str
    instructions: str
    models: list[str]
    tools: list[str]
    endpoint: str | None
    capabilities: list[str]
    limits: LimitsOut
    degradation: DegradationOut
    escalate: bool
    tool_policy: JsonObject
    status: str
    health: AgentHealthOut | None
    metadata: JsonObject
    created_at: AwareDatetime
    updated_at: AwareDatetime


class AgentList(Page):
    """A page of agents."""

    agents: list[AgentOut]


class RegisteredOut(AgentOut):
    """A registered external agent, with the token that is for it alone and is shown here only."""

    model_config = ConfigDict(json_schema_extra={})

    token: str


class TokenOut(Shape):
    """The new token of an external agent, shown here only; the one before is of no use any more."""

    agent_id: str
    token: str
    prefix: str
    created_at: AwareDatetime


class AgentBeatOut(Shape):
    """How we see an agent after its heartbeat, and when the next one is due."""

    agent_id: str
    health: AgentHealthOut
    next_in_seconds: float


class CardToolOut(Shape):
    """A tool that an agent may use."""

    name: str
    description: str


class CardLinksOut(Shape):
    """Where the agent is asked: by an agent, and by anybody else."""

    invoke: str
    runs: str


class CardOut(Shape):
    """What an agent can do: for whoever looks for one, without how it does it."""

    agent_id: str
    kind: AgentKind
    name: str
    description: str
    capabilities: list[str]
    tools: list[CardToolOut]
    limits: LimitsOut
    status: str
    health: AgentHealthOut | None
    links: CardLinksOut


class ToolOut(Shape):
    """A function with a JSON Schema."""

    name: str
    description: str
    parameters: JsonObject
    effect: Effect
    timeout_seconds: float
    source: str


class ToolList(Page):
    """The tools."""

    tools: list[ToolOut]


class PriceOut(Shape):
    """USD per million tokens, null while unknown."""

    input_per_mtok_usd: Money
    output_per_mtok_usd: Money
    cached_input_per_mtok_usd: Money
    source: Literal["api", "file", "bundled"] | None


class ModelHealthOut(Shape):
    """How a model does, over all workers."""

    state: Literal["healthy", "degraded", "unknown"]
    circuit: Literal["closed", "open", "half_open"]
    failures: Annotated[int, Field(description="In a row.")]
    error_class: Annotated[
        str | None,
        Field(description="`rate_limited`, `timeout`, `server_error` or `auth_error`."),
    ]
    error: str | None
    open_until: AwareDatetime | None
    blocked_until: Annotated[
        AwareDatetime | None, Field(description="The provider said to stay away until then.")
    ]
    last_ok_at: AwareDatetime | None
    last_failed_at: AwareDatetime | None


class ModelOut(Shape):
    """A model in OpenAI's shape, with our fields beside."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "id": "offline/assistant",
                "object": "model",
                "created": 0,
                "owned_by": "offline",
                "provider": "offline",
                "configured": True,
                "context_window": None,
                "price": {
                    "input_per_mtok_usd": "0",
                    "output_per_mtok_usd": "0",
                    "cached_input_per_mtok_usd": "0",
                    "source": "bundled",
                },
                "health": {
                    "state": "unknown",
                    "circuit": "closed",
                    "failures": 0,
                    "error_class": None,
                    "error": None,
                    "open_until": None,
                    "blocked_until": None,
                    "last_ok_at": None,
                    "last_failed_at": None,
                },
                "chain": None,
                "description": None,
            }
        )
    )

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    provider: str
    configured: bool
    context_window: int | None
    price: PriceOut
    health: Annotated[ModelHealthOut | None, Field(description="Null for tiers and agents.")]
    chain: Annotated[
        list[str] | None, Field(description="Of a tier or an agent: the models it asks, in turn.")
    ]
    description: Annotated[str | None, Field(description="Of an agent.")]


class PriceSetOut(Shape):
    """What a model costs from now on."""

    model: str
    price: PriceOut


class ModelList(Page):
    """The models, in OpenAI's list shape."""

    object: Literal["list"]
    data: list[ModelOut]


class KeyOut(Shape):
    """An API key; its secret is shown once. With `agent_id`: the token of an external agent."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "key_id": "key_01k9",
                "name": "ci",
                "prefix": "orch_Ab12Cd3",
                "owner": "local",
                "scopes": ["read", "invoke"],
                "created_at": "2026-11-20T10:00:00.000Z",
                "expires_at": None,
                "revoked_at": None,
                "agent_id": None,
            }
        )
    )

    key_id: str
    name: str
    prefix: str
    owner: str
    scopes: list[Scope]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    agent_id: str | None


class NewKeyOut(KeyOut):
    """A new API key with its secret."""

    model_config = ConfigDict(json_schema_extra={})

    key: str


class KeyList(Page):
    """A page of API keys."""

    keys: list[KeyOut]
