"""Agents: what can be addressed and can do a run. Knows no store and no wire."""

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from domain.chat import ChatMessage

AgentId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
RESERVED_IDS = frozenset({"register"})
"""No agent's: `/v1/agents/register` is a path of its own."""

DEGRADED = "degraded"
KEYWORD = f"{DEGRADED}/keyword"
STATIC = f"{DEGRADED}/static"
"""In place of models: answers that the operator wrote."""
_AGENT_MODEL = "agent/"
_WORDS = re.compile(r"\w+")


def agent_model(agent_id: str) -> str:
    """Return the name under which the calls of an external agent are priced and billed."""
    return f"{_AGENT_MODEL}{agent_id}"


def is_agent_model(model: str) -> bool:
    """Say whether the calls billed as this model are those of an external agent."""
    return model.startswith(_AGENT_MODEL)


class AgentKind(StrEnum):
    """Who does the work of a run."""

    LLM = "llm"
    """We do: instructions, a chain of models and tools."""
    HTTP = "http"
    """A service that speaks the agent protocol (POST /invoke, SSE). Source: seed B."""


class Limits(BaseModel):
    """Caps of one run; each ends the run with its own reason. None means the default applies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_turns: int | None = Field(default=None, ge=1, le=10_000)
    max_tool_calls: int | None = Field(default=None, ge=0, le=100_000)
    max_tokens: int | None = Field(default=None, ge=1)
    max_cost_usd: str | None = Field(default=None, pattern=r"^\d{1,9}(\.\d{1,12})?$")
    max_seconds: float | None = Field(default=None, gt=0, le=31_536_000)
    max_depth: int | None = Field(default=None, ge=0, le=10)
    """Levels of runs that may stand below this one."""
    max_children: int | None = Field(default=None, ge=0, le=1000)
    """Children of its own that work at the same time."""
    max_spawns: int | None = Field(default=None, ge=0, le=10_000)
    """Runs below this one, over its whole life."""

    def over(self, other: "Limits") -> "Limits":
        """Return these limits, with `other` filling what is None here."""
        mine = self.model_dump(exclude_none=True)
        return Limits.model_validate({**other.model_dump(), **mine})


class Degradation(BaseModel):
    """What stands behind an agent's chain of models, each level simpler than the one before.

    Source: seed E, graceful degradation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[str, ...] = Field(default=(), max_length=20)
    """A simpler agent: the same instructions without tools, asked of these."""
    keywords: dict[str, str] = Field(default_factory=dict, max_length=200)
    """Answers without a model, by a word or phrase of the request."""
    static: str | None = Field(default=None, max_length=20_000)
    """The answer when nothing else can be said."""

    def models_behind(self) -> tuple[str, ...]:
        """Return what is tried after the chain, as names of models."""
        keyword = (KEYWORD,) if self.keywords else ()
        static = (STATIC,) if self.static is not None else ()
        return (*self.models, *keyword, *static)

    def keyword_answer(self, text: str) -> str | None:
        """Return the answer to the longest word or phrase that `text` holds, if it holds any."""
        words = f" {' '.join(_WORDS.findall(text.casefold()))} "
        held = [
            phrase
            for phrase in self.keywords
            if f" {' '.join(_WORDS.findall(phrase.casefold()))} " in words
        ]
        return self.keywords[max(held, key=len)] if held else None


class Agent(BaseModel):
    """One registered agent. `owner` None means that every owner sees it (config file, built in)."""

    model_config = ConfigDict(frozen=True)

    agent_id: str
    owner: str | None
    kind: AgentKind
    name: str
    description: str = ""
    instructions: str = ""
    models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    endpoint: str | None = None
    capabilities: tuple[str, ...] = ()
    limits: Limits = Limits()
    degradation: Degradation = Degradation()
    escalate: bool = False
    """Whether a weak answer goes to a model of a higher tier."""
    tool_policy: dict[str, Any] = Field(default_factory=dict)
    status: str = "active"
    metadata: dict[str, Any] = Field(default_factory=dict)
    created_at: int
    """Milliseconds since the epoch, as every time in the domain."""
    updated_at: int


def endpoint_flaw(endpoint: str) -> str | None:
    """Say what is wrong with the form of an endpoint, to which `/invoke` is appended.

    Behind a `?` or `#` that path would be none, and the endpoint could name any path it likes.
    """
    found = next((sign for sign in "?#" if sign in endpoint), None)
    return found and f"an endpoint has no query and no fragment: leave out what begins with {found}"


class AgentDelta(BaseModel):
    """A piece of an external agent's answer."""

    model_config = ConfigDict(frozen=True)

    text: str


class AgentState(BaseModel):
    """An external agent says what it is doing."""

    model_config = ConfigDict(frozen=True)

    state: str
    detail: str = ""


class AgentDone(BaseModel):
    """An external agent's answer is whole. `usage` is as the agent reports it."""

    model_config = ConfigDict(frozen=True)

    final_message: str | None = None
    usage: dict[str, int] = Field(default_factory=dict)


AgentChunk = AgentDelta | AgentState | AgentDone


class AgentInvocation(BaseModel):
    """What an external agent is sent. Source: seed B, agent protocol."""

    model_config = ConfigDict(frozen=True)

    endpoint: str
    agent_id: str
    session_id: str
    run_id: str
    input_message: ChatMessage
    messages: tuple[ChatMessage, ...]
    context: dict[str, Any] = Field(default_factory=dict)
