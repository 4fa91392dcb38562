"""The product's store in a process of its own: appends under the clock, and runs made to measure.

Speaks lines of JSON: `append` lets tasks append in batches and tells the rate, `fill` makes a
finished run with a number of events.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from bootstrap.settings import Settings
from bootstrap.storage import Storage, open_storage
from domain.acceptance import NewRun
from domain.chat import TokenUsage
from domain.event import EventDraft, EventType
from domain.principal import LOCAL_OWNER
from domain.run import RunKind, RunSpec, RunState
from domain.step import Attempt, CallBill, Closing, Execution, Finish, NewMessage, Opened

TEXT = "x" * 100
"""What an event holds; with its envelope about 330 bytes."""
_STEP = "llm-1-1"
_FILL_BATCH = 100


async def _open_run(storage: Storage) -> Attempt:
    """Accept a run and open its first step."""
    name = secrets.token_hex(8)
    run_id = f"run_{name}"
    await storage.runs.accept(
        NewRun(
            run_id=run_id,
            owner=LOCAL_OWNER,
            kind=RunKind.AGENT,
            spec=RunSpec(models=("openai/fake",)),
            agent_id="bench",
            session_id=f"sess_{name}",
            message_id=f"msg_{name}",
            content="hello",
            max_open_runs=1_000_000,
        )
    )
    opened = await storage.steps.open(
        Execution(run_id, _STEP, f"temporal-{name}", 1, name.encode(), "bench")
    )
    assert isinstance(opened, Opened)
    return Attempt(run_id, _STEP, opened.attempt)


def _drafts(first: int, count: int, attempt: int) -> list[EventDraft]:
    return [
        EventDraft(
            type=EventType.AGENT_STREAM_DELTA,
            key=f"{_STEP}:{attempt}:{index}",
            data={"text": TEXT, "step": _STEP, "attempt": attempt},
        )
        for index in range(first, first + count)
    ]


async def append(storage: Storage, order: dict[str, Any]) -> dict[str, Any]:
    """Let tasks append for some seconds; each batch is durable before the task's next one."""
    batch = order["batch"]
    attempts = [await _open_run(storage) for _ in range(order["writers"])]
    started = time.monotonic()
    until = started + order["seconds"]

    async def write(attempt: Attempt) -> int:
        written = 0
        while time.monotonic() < until:
            await storage.steps.append_events(attempt, _drafts(written, batch, attempt.number))
            written += batch
        return written

    counts = await asyncio.gather(*map(write, attempts))
    seconds = time.monotonic() - started
    for attempt, count in zip(attempts, counts, strict=True):
        await _check(storage, attempt.run_id, count)
    return {"events": sum(counts), "seconds": seconds}


async def _check(storage: Storage, run_id: str, count: int) -> None:
    """Check that the log holds exactly what was appended, gapless.

    Raises:
        ValueError: it does not.
    """
    seq, found = 0, 0
    while page := await storage.events.read(run_id, seq, 1000):
        if [event.seq for event in page] != list(range(seq + 1, seq + 1 + len(page))):
            raise ValueError(f"run {run_id} has gaps after {seq}")
        seq = page[-1].seq
        found += sum(event.type == EventType.AGENT_STREAM_DELTA for event in page)
    if found != count:
        raise ValueError(f"run {run_id} holds {found} of {count} events")


async def fill(storage: Storage, order: dict[str, Any]) -> dict[str, Any]:
    """Make a run that ended as DONE with exactly so many events."""
    attempt = await _open_run(storage)
    opened = await storage.runs.get_run(LOCAL_OWNER, attempt.run_id)
    # The closing transaction adds llm_call_done and agent_invoke_done, the end run_done.
    wanted = order["events"] - opened.last_seq - 3
    for first in range(0, wanted, _FILL_BATCH):
        count = min(_FILL_BATCH, wanted - first)
        await storage.steps.append_events(attempt, _drafts(first, count, attempt.number))
    await storage.steps.close(attempt, _closing(attempt))
    await storage.steps.finalize(attempt.run_id, Finish(RunState.DONE))
    ended = await storage.runs.get_run(LOCAL_OWNER, attempt.run_id)
    return {"run_id": ended.run_id, "events": ended.last_seq, "state": ended.state}


def _closing(attempt: Attempt) -> Closing:
    done = EventDraft(type=EventType.AGENT_INVOKE_DONE, key="invoke_done", data={"step": _STEP})
    bill = CallBill("openai/fake", TokenUsage(), None, estimated=False, latency_ms=1)
    message = NewMessage(f"msg_{attempt.run_id}_a", "assistant", TEXT)
    return Closing(result={}, events=(done,), messages=(message,), bill=bill, final_text=TEXT)


async def _serve(folder: Path) -> None:
    storage = await open_storage(Settings(data_dir=folder))
    _say({"ready": True, "file": str(folder / "orchestrator.db")})
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        try:
            _say(await {"append": append, "fill": fill}[order["do"]](storage, order))
        except Exception as error:  # noqa: BLE001 - told to who asked
            _say({"error": repr(error)})
    await storage.close()


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True, type=Path)
    asyncio.run(_serve(parser.parse_args().folder))
    sys.stdout.flush()
    os._exit(0)
