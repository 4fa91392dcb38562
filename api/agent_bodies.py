"""What callers send about external agents, and what these send themselves."""

from typing import Annotated

from pydantic import ConfigDict, Field

from api.requests import (
    Body,
    InputMessage,
    JsonObject,
    LimitsBody,
    Name,
    NewAgentId,
    Tools,
    left_out,
)
from domain.policy import ToolPolicy


class RegisterBody(Body):
    """An external agent, as seed B registers it. Of a known one, what is left out stays."""

    agent_id: NewAgentId
    name: Name
    endpoint: Annotated[str, Field(min_length=1, max_length=2000)]
    description: Annotated[str, Field(max_length=10_000)] = Field(default_factory=left_out)
    capabilities: Annotated[list[Name], Field(max_length=100)] = Field(default_factory=left_out)
    tools: Tools = Field(default_factory=left_out)
    limits: LimitsBody = Field(default_factory=left_out)
    tool_policy: ToolPolicy = Field(default_factory=left_out)
    metadata: JsonObject = Field(default_factory=left_out)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "agent_id": "demo_agent",
                    "name": "Demo Agent",
                    "endpoint": "http://localhost:8000",
                }
            ]
        }
    )


class AgentBeatBody(Body):
    """What an external agent says of itself; `status` as in its `GET /health`."""

    status: Annotated[str, Field(max_length=100)] = "ok"
    version: Annotated[str, Field(max_length=100)] | None = None
    capabilities: Annotated[list[Name], Field(max_length=64)] | None = None

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "ok", "version": "1.4.0"}]}
    )


class AskAgentBody(Body):
    """What one agent asks another, inside a run. Source: seed B."""

    parent_run_id: Annotated[str, Field(pattern=r"^run_[A-Za-z0-9_-]{1,100}$")]
    input_message: InputMessage
    context: JsonObject = Field(default_factory=dict)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "parent_run_id": "run_01k9",
                    "input_message": {"role": "user", "content": "What is 6 * 7?"},
                }
            ]
        }
    )
