"""Shorthand for calling tools as the worker does."""

from typing import Any

from adapters.tools.registry import ToolRegistry
from domain.tool import ToolInvocation, ToolOutcome


def invocation(name: str, args: dict[str, Any], timeout_seconds: float = 30.0) -> ToolInvocation:
    return ToolInvocation(
        run_id="run_1",
        tool_call_id="tc_1",
        idempotency_key="run_1:tc_1",
        name=name,
        args=args,
        timeout_seconds=timeout_seconds,
    )


async def call(registry: ToolRegistry, name: str, **args: Any) -> ToolOutcome:
    return await registry.run(invocation(name, args))
