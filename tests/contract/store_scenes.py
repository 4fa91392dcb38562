"""Short words for what the store's contract tests do over and over."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from domain.acceptance import NewRun
from domain.agent import Limits
from domain.chat import TokenUsage, ToolCallRequest
from domain.event import DATA_OF, EventDraft, EventType
from domain.fold import fold
from domain.run import RunKind, RunSpec, RunState
from domain.step import (
    Attempt,
    CallBill,
    CallPlan,
    Closing,
    Execution,
    Finish,
    NewMessage,
    NewToolCall,
    Opened,
    Opening,
)
from domain.tool import Effect, ToolSpec
from tests.contract.store_engines import StoreBox

OWNER = "ann"
MODEL = "offline/echo"
PLAN = CallPlan(model=MODEL, input_rate=1000, output_rate=2000)
DONE = Finish(RunState.DONE)
FAILED = Finish(RunState.FAILED, "model_unavailable", "no model answered")
CANCELLED = Finish(RunState.CANCELLED)

_numbers = itertools.count(1)


def tool_spec(effect: Effect = Effect.NONE) -> ToolSpec:
    return ToolSpec(name="mail", description="Send.", parameters={"type": "object"}, effect=effect)


def new_run(run_id: str, session_id: str | None = None, **fields: Any) -> NewRun:
    """A run that a person of owner `ann` asks for."""
    made = NewRun(
        run_id=run_id,
        owner=OWNER,
        kind=RunKind.AGENT,
        spec=RunSpec(agent_name="helper", models=(MODEL,)),
        agent_id="helper",
        session_id=session_id or f"s-{run_id}",
        message_id=f"msg_{run_id}",
        content=f"hello from {run_id}",
        max_open_runs=1000,
    )
    return replace(made, **fields)


def new_tool_run(run_id: str, effect: Effect = Effect.NONE) -> NewRun:
    """A run that is one tool call."""
    spec = RunSpec(kind=RunKind.TOOL, tools=(tool_spec(effect),))
    return replace(
        new_run(run_id),
        kind=RunKind.TOOL,
        spec=spec,
        agent_id=None,
        session_id=None,
        tool_call_id=f"tc_{run_id}",
        args='{"to":"bob"}',
    )


def capped(usd: str) -> RunSpec:
    return RunSpec(models=(MODEL,), limits=Limits(max_cost_usd=usd))


def execution(run_id: str, step_id: str = "llm-1-1", **fields: Any) -> Execution:
    """An attempt as Temporal schedules it: later than every one before, with a token of its own."""
    number = next(_numbers)
    found = Execution(
        run_id=run_id,
        step_id=step_id,
        temporal_run_id="temporal-1",
        scheduled_at_us=number,
        token=f"token-{number}".encode(),
        worker_id="worker-1",
    )
    return replace(found, **fields)


async def open_step(
    store: StoreBox, run_id: str, step_id: str = "llm-1-1", **fields: Any
) -> Attempt:
    """Open a step that must open, and return the attempt."""
    plan = PLAN if step_id.startswith("llm-") else None
    opened = must_open(await store.steps.open(execution(run_id, step_id, **fields), plan))
    return Attempt(run_id, step_id, opened.attempt)


def must_open(opening: Opening) -> Opened:
    assert isinstance(opening, Opened), opening
    return opening


def bill(**fields: Any) -> CallBill:
    made = CallBill(
        model=MODEL,
        usage=TokenUsage(input_tokens=100, output_tokens=20, cached_tokens=5),
        cost_pico=140_000,
        estimated=False,
        latency_ms=12,
    )
    return replace(made, **fields)


def answer(text: str = "hi", **fields: Any) -> Closing:
    """The end of a step that ends the run's work."""
    number = next(_numbers)
    made = Closing(
        result={"calls": []},
        events=(
            EventDraft(
                type=EventType.AGENT_INVOKE_DONE,
                key="invoke_done:llm-1-1",
                data={"agent_id": "helper", "step": "llm-1-1"},
            ),
        ),
        messages=(NewMessage(f"msg_{number}", "assistant", text, tokens=20),),
        bill=bill(),
        last_delta=text,
        delta_index=999,
        is_turn=True,
        final_text=text,
    )
    return replace(made, **fields)


def asks_tool(*effects: Effect, turn: int = 1, name: str = "mail") -> Closing:
    """The end of a step that asks for one tool call per effect."""
    calls = tuple(
        NewToolCall(
            tool_call_id=f"tc_{next(_numbers):06}",
            step_id=f"tool-{turn}-{index}",
            name=name,
            args='{"to":"bob"}',
            effect=effect.value,
            provider_call_id=f"call_{index}",
        )
        for index, effect in enumerate(effects)
    )
    asked = tuple(
        ToolCallRequest(call_id=call.tool_call_id, name=call.name, arguments=call.args)
        for call in calls
    )
    message = NewMessage(f"msg_{next(_numbers)}", "assistant", "", tool_calls=asked, tokens=7)
    return Closing(
        result={"calls": [call.tool_call_id for call in calls]},
        messages=(message,),
        tool_calls=calls,
        bill=bill(),
        is_turn=True,
    )


async def start_with_tools(store: StoreBox, run_id: str, *effects: Effect) -> list[str]:
    """Accept a run whose first reply asks for tools; return the ids of the calls."""
    await store.runs.accept(new_run(run_id))
    closing = asks_tool(*effects)
    await store.steps.close(await open_step(store, run_id), closing)
    return [call.tool_call_id for call in closing.tool_calls]


async def events(store: StoreBox, run_id: str) -> list[dict[str, Any]]:
    """The run's whole log, as envelopes."""
    return [json.loads(event.envelope) for event in await store.log.read(run_id, 0, 100_000)]


async def types(store: StoreBox, run_id: str) -> list[str]:
    return [event["type"] for event in await events(store, run_id)]


async def transcript(store: StoreBox, session_id: str) -> Sequence[tuple[str, str]]:
    """Roles and texts of what a model would be shown."""
    messages = await store.steps.read_transcript(OWNER, session_id)
    return [(message.role, message.content) for message in messages]


async def check_log(store: StoreBox, run_id: str) -> None:
    """The law of every log: 1..n without gap, all told to viewers once, ending at most once."""
    log = await events(store, run_id)
    run = await store.runs.get_run(None, run_id)
    told = [event.seq for event in store.committed if event.run_id == run_id]
    ends = [event["type"] for event in log if event["type"] in ENDS]

    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    assert run.last_seq == len(log)
    assert sorted(told) == list(range(1, len(log) + 1))
    assert ends == ([log[-1]["type"]] if run.is_terminal else [])
    for event in log:  # `docs/reference/events.md` is made of it
        assert event["data"].keys() <= DATA_OF[event["type"]].keys(), event


async def check_run(store: StoreBox, run_id: str) -> None:
    """Invariant I3: the log folds into the row."""
    run = await store.runs.get_run(None, run_id)
    folded = fold(await events(store, run_id))

    assert folded.model_dump() == run.model_dump(include=set(type(folded).model_fields))
    await check_log(store, run_id)


ENDS = ("run_done", "run_failed", "run_cancelled")
