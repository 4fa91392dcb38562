"""Two tools of your own. In the settings: `["custom_tool:word_score", "custom_tool:book"]`.

A plain function runs in a process of its own, which is killed at its timeout; an `async` one runs
in the worker's event loop. Type hints become the schema, the docstring is what the model reads.
"""

import asyncio
from pathlib import Path

from adapters.tools.context import ToolContext
from adapters.tools.decorator import tool
from domain.errors import ToolFailedError
from domain.tool import Effect

ROOMS = {"101", "102", "103"}
LEDGER = Path("bookings")


@tool(timeout_seconds=5)
async def word_score(word: str) -> int:
    """Count what a word is worth: a is 1, z is 26.

    Args:
        word: One word of plain letters.
    """
    await asyncio.sleep(0)
    return sum(ord(letter) - ord("a") + 1 for letter in word.lower() if letter.isalpha())


@tool(effect=Effect.IDEMPOTENT, timeout_seconds=10)
def book(room: str, nights: int, context: ToolContext) -> dict[str, object]:
    """Book a room. A repeated call with the same key books once.

    Args:
        room: 101, 102 or 103.
        nights: How many nights.
        context: The call's key; a model does not see this one.
    """
    if room not in ROOMS:
        raise ToolFailedError(f"there is no room {room}: choose one of {', '.join(sorted(ROOMS))}")
    LEDGER.mkdir(exist_ok=True)
    entry = LEDGER / context.idempotency_key.replace(":", "-")
    is_new = not entry.exists()
    entry.write_text(f"{room} {nights}\n")
    return {"booked": room, "nights": nights, "already_there": not is_new}
