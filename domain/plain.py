"""A conversation as one who has no tools reads it.

Providers refuse calls and results of tools in a request that declares none.
"""

from collections.abc import Sequence

from domain.chat import ChatMessage


def without_tools(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """Return the same conversation with calls and results of tools told in words.

    It is no longer than `domain.bounds` takes it to be.
    """
    return tuple(_told(message) for message in messages)


def _told(message: ChatMessage) -> ChatMessage:
    if message.role == "tool":
        return ChatMessage(role="user", content=f"[tool result]\n{message.content}")
    if not message.tool_calls:
        return message
    calls = [f"[called {call.name} with {call.arguments}]" for call in message.tool_calls]
    said = [message.content] if message.content else []
    return ChatMessage(role=message.role, content="\n".join([*said, *calls]))
