"""What a tool may know about the call it answers. Holds no connection and no clock."""

from dataclasses import dataclass

from domain.tool import ToolInvocation


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Given to a tool that has a parameter of this type; never part of its schema.

    `idempotency_key` is stable over every retry and restart of the same call: an `idempotent` tool
    passes it on to whatever it changes.
    """

    run_id: str
    tool_call_id: str
    idempotency_key: str
    timeout_seconds: float

    @classmethod
    def of(cls, invocation: ToolInvocation) -> "ToolContext":
        """Return the context of one invocation."""
        return cls(
            run_id=invocation.run_id,
            tool_call_id=invocation.tool_call_id,
            idempotency_key=invocation.idempotency_key,
            timeout_seconds=invocation.timeout_seconds,
        )
