"""Tools of the tests' own tool hosts: they leave marks in an effect ledger, as `tools.py` does."""

from adapters.tools.context import ToolContext
from adapters.tools.decorator import tool
from domain.tool import Effect
from tests.rig.tools import post


@tool(effect=Effect.IDEMPOTENT, timeout_seconds=60)
async def print_keyed(url: str, context: ToolContext) -> int:
    """Print once per idempotency key."""
    return await post(url, context.idempotency_key, "print_keyed")


@tool(effect=Effect.UNSAFE, timeout_seconds=60)
async def print_unsafe(url: str, context: ToolContext) -> int:
    """Print; a second call would print again."""
    return await post(url, context.idempotency_key, "print_unsafe")


@tool(effect=Effect.UNSAFE)
async def print_and_raise(url: str, context: ToolContext) -> int:
    """Print, and lose the reply."""
    await post(url, context.idempotency_key, "print_and_raise")
    raise ConnectionResetError("the reply was lost")
