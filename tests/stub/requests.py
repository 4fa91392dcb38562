"""What the stub reads of a request, in either wire format. Knows no behaviour."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation as (role, text), tool results under the role `tool`."""

    model: str
    messages: tuple[tuple[str, str], ...]
    tools: tuple[str, ...]

    def last_user(self) -> str:
        """Return the text of the last user message."""
        return next((text for role, text in reversed(self.messages) if role == "user"), "")

    def turn(self) -> int:
        """Return how many assistant messages follow the last user message."""
        count = 0
        for role, _ in reversed(self.messages):
            if role == "user":
                break
            count += role == "assistant"
        return count

    def tool_results(self) -> list[str]:
        """Return the results at the end of the conversation, in order."""
        results: list[str] = []
        for role, text in reversed(self.messages):
            if role != "tool":
                break
            results.insert(0, text)
        return results


def read_prompt(body: dict[str, Any]) -> Prompt:
    """Return the prompt of a request body of either vendor."""
    messages = [pair for message in body["messages"] for pair in _flatten(message)]
    tools = [tool.get("name") or tool["function"]["name"] for tool in body.get("tools", [])]
    return Prompt(body["model"], tuple(messages), tuple(tools))


def _flatten(message: dict[str, Any]) -> list[tuple[str, str]]:
    role, content = message["role"], message.get("content") or ""
    if isinstance(content, str):
        return [(role, content)]
    results = [("tool", str(b["content"])) for b in content if b["type"] == "tool_result"]
    text = "".join(block["text"] for block in content if block["type"] == "text")
    return results + ([(role, text)] if text or not results else [])
