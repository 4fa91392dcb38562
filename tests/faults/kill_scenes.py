"""What tests that kill and freeze processes say, wait for and look at."""

import asyncio

import httpx2

from adapters.net.loopback import verify_for
from tests.faults.books import Books
from tests.rig.viewer import Viewer


def expected(words: int) -> str:
    return "[offline] " + " ".join(f"t{at}" for at in range(words))


def attempts(books: Books, run_id: str, step_id: str = "llm-1-1") -> int:
    (step,) = [
        row for row in books.tables["steps"] if (row["run_id"], row["step_id"]) == (run_id, step_id)
    ]
    return int(step["attempt"])


async def release(url: str) -> None:
    async with httpx2.AsyncClient(verify=verify_for(url)) as http:
        await http.post(f"{url}/release")


async def tokens_on(viewers: list[Viewer], more: int = 1) -> None:
    """Wait until each viewer has seen so many tokens more than now."""
    targets = [(viewer, viewer.count("agent_stream_delta") + more) for viewer in viewers]
    await asyncio.gather(*(viewer.sees("agent_stream_delta", n) for viewer, n in targets))
