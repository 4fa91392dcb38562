"""Runs with turns behind them, and forks of them, for the store's contract tests."""

from dataclasses import replace
from typing import Any

from domain.acceptance import Accepted, ForkOf, Page
from domain.step import Attempt
from domain.tool import Effect, ToolCallStatus, ToolOutcome
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    DONE,
    OWNER,
    answer,
    asks_tool,
    execution,
    must_open,
    new_run,
    open_step,
)

SENT = ToolOutcome(ok=True, content="sent")


async def run_tool(store: StoreBox, run_id: str, step_id: str) -> None:
    opened = must_open(await store.steps.open(execution(run_id, step_id)))
    attempt = Attempt(run_id, step_id, opened.attempt)
    await store.steps.close_tool(attempt, ToolCallStatus.SUCCEEDED, SENT)


async def two_turns(store: StoreBox, run_id: str = "run_1", **fields: Any) -> list[str]:
    """A run with two calls in its first turn and one in its second; return their keys."""
    await store.runs.accept(new_run(run_id, **fields))
    await store.steps.close(
        await open_step(store, run_id), asks_tool(Effect.IDEMPOTENT, Effect.IDEMPOTENT)
    )
    for step_id in ("tool-1-0", "tool-1-1"):
        await run_tool(store, run_id, step_id)
    second = asks_tool(Effect.UNSAFE, turn=2)
    await store.steps.close(await open_step(store, run_id, "llm-2-1"), second)
    return [call.idempotency_key for call in await calls(store, run_id)]


async def done(store: StoreBox, run_id: str = "run_1", **fields: Any) -> list[str]:
    """The same run, to its end."""
    keys = await two_turns(store, run_id, **fields)
    await run_tool(store, run_id, "tool-2-0")
    await store.steps.close(await open_step(store, run_id, "llm-3-1"), answer("all sent"))
    await store.steps.finalize(run_id, DONE)
    return keys


async def calls(store: StoreBox, run_id: str) -> list[Any]:
    found, _ = await store.runs.list_tool_calls(OWNER, run_id, None, Page())
    return sorted(found, key=lambda call: call.step)


async def fork(
    store: StoreBox, turn: int | None, said: str | None = None, **fields: Any
) -> Accepted:
    """Fork `run_1`; None retries it."""
    name = fields.pop("run_id", "run_2")
    of = ForkOf("run_1", turn, by="eve", says_more=said is not None)
    source = await store.forks.source(OWNER, "run_1")
    new = new_run(name, f"branch-{name}", content=said or source.content, fork=of)
    return await store.runs.accept(replace(new, spec=source.spec, **fields))
