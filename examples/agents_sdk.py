"""OpenAI's Agents SDK over this product: chat, stream, tools, a typed answer.

    pip install openai-agents
    python examples/agents_sdk.py http://localhost:8080/v1 offline/assistant

The SDK runs the tools here; models, budgets and the ledger are the product's. The key is one of
ours; any text will do while authentication is off.
"""

import asyncio
import os
import sys

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

set_tracing_disabled(True)  # it would send what is said to OpenAI


@function_tool
def calculator(operation: str, a: float, b: float) -> str:
    """Calculate: `operation` is add, subtract, multiply or divide."""
    results = {"add": a + b, "subtract": a - b, "multiply": a * b, "divide": a / b if b else 0}
    return f"{results[operation]:g}"


async def main(base_url: str, model: str) -> None:
    """Ask once for a whole answer, with a tool, and once for a stream."""
    client = AsyncOpenAI(base_url=base_url, api_key=os.environ.get("ORCHESTRATOR_API_KEY", "none"))
    chosen = OpenAIChatCompletionsModel(model=model, openai_client=client)
    agent = Agent(name="reckoner", model=chosen, tools=[calculator])

    whole = await Runner.run(agent, "What is 6 * 7?")
    print(whole.final_output)

    streamed = Runner.run_streamed(agent, "What is 8 * 9?")
    async for event in streamed.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            print(event.data.delta, end="", flush=True)
    print()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
