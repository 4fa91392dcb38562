"""Faults 1, 2, 3, 5, 6, 8, 9, 10, 11: processes and servers killed, frozen, taken away."""

import json
import random

from tests.faults.conftest import sse_words
from tests.rig.world import World


def expected(words: int) -> str:
    return "[offline] " + " ".join(f"t{at}" for at in range(words))


async def test_a_worker_killed_in_mid_stream(world: World, seed: int) -> None:
    """Fault 1: the stream starts over and ends whole; both attempts are on the ledger."""
    at = random.Random(seed).randrange(1, 20)
    _, (worker,) = await world.apart()
    await world.agent()
    run_id = await world.start(sse_words(40))
    viewer = world.watch(run_id)
    await viewer.sees("agent_stream_delta", at)

    worker.kill()
    await world.worker()
    await viewer.sees("agent_stream_delta", attempt=2)

    assert await viewer.ends() == "run_done"
    books = await world.check()
    assert viewer.count("agent_stream_reset", attempt=2) == 1
    assert json.loads(books.run(run_id)["output"])["content"] == expected(40)
    billed = [(row["attempt"], row["estimated"]) for row in books.tables["usage"]]
    assert sorted(billed) == [(1, 1), (2, 0)]
    assert all(row["output_tokens"] > 0 for row in books.tables["usage"])
