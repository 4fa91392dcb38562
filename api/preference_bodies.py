"""What callers send about what they prefer."""

from pydantic import ConfigDict

from api.requests import Body
from domain.agent import AgentId


class PinBody(Body):
    """The agent that is wanted for every run that names none."""

    agent_id: AgentId

    model_config = ConfigDict(json_schema_extra={"examples": [{"agent_id": "assistant"}]})
