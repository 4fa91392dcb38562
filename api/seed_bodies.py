"""What callers of seed A's paths send."""

from typing import Annotated

from pydantic import ConfigDict, Field

from api.requests import Body, Said
from domain.agent import AgentId


class SeedChatBody(Body):
    """Seed A's way to talk to an agent."""

    message: Said
    agent_id: AgentId | None = None
    conversation_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$")] | None = (
        None
    )

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"agent_id": "assistant", "message": "What is 6 * 7?"}]}
    )
