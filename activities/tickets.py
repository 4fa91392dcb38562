"""The tool calls of a reply: those to run, and those to answer at once."""

from collections.abc import Sequence

from domain.chat import ToolCallRequest
from domain.order import CallTicket
from domain.ports import Ids
from domain.step import NewToolCall, tool_step
from domain.tool import Effect, ToolOutcome, ToolSpec

Sorted = tuple[list[CallTicket], list[NewToolCall], list[tuple[NewToolCall, ToolOutcome]]]


def sort_calls(
    wanted: Sequence[ToolCallRequest], specs: Sequence[ToolSpec], turn: int, ids: Ids
) -> Sorted:
    """Return tickets and rows of the calls to run, and the calls of tools that are not there."""
    tools = {tool.name: tool for tool in specs}
    tickets, created, refused = [], [], []
    for index, request in enumerate(wanted):
        tool = tools.get(request.name)
        new = NewToolCall(
            tool_call_id=ids.new("tc"),
            step_id=tool_step(turn, index),
            name=request.name,
            args=request.arguments,
            effect=(tool.effect if tool else Effect.NONE).value,
            provider_call_id=request.call_id,
            kind="client" if tool and tool.client else "server",
        )
        if tool is None:
            known = ", ".join(sorted(tools)) or "none"
            said = f"there is no tool {request.name!r}; the tools are: {known}"
            refused.append((new, ToolOutcome(ok=False, content=said, error_code="unknown_tool")))
            continue
        created.append(new)
        tickets.append(CallTicket(step_id=new.step_id, tool=tool.name))
    return tickets, created, refused
