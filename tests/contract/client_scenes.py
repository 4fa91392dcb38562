"""Calls that a client is asked to run, and who runs them, for the store's contract tests."""

from dataclasses import replace
from typing import Any

from domain.clients import Claim, Dispatch, Submission, ToolHost
from domain.run import RunSpec
from domain.step import AwaitingClient, Opening
from domain.tool import Audience, ClientSide, Effect, ToolOutcome, ToolSpec
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import MODEL, OWNER, asks_tool, execution, new_run, open_step

LAPTOP = Claim(owner=OWNER, caller="key_1", name="ann", host_id="laptop")
DESK = replace(LAPTOP, host_id="desk")
STARTER = Claim(owner=OWNER, caller="key_1", name="ann")
SAID = ToolOutcome(ok=True, content='{"sent":true}')
LATE_MS = 10**9


def client_tool(effect: Effect = Effect.UNSAFE, **side: Any) -> ToolSpec:
    audience = side.pop("audience", Audience.OWNER)
    timeout = side.pop("timeout_seconds", 60.0)
    return ToolSpec(
        name="mail",
        description="Send.",
        parameters={"type": "object", "properties": {"to": {"type": "string"}}},
        effect=effect,
        timeout_seconds=timeout,
        source="client",
        client=ClientSide(audience=audience, **side),
    )


async def put_host(
    store: StoreBox, host_id: str = "laptop", spec: ToolSpec | None = None, **fields: Any
) -> ToolHost:
    made = ToolHost(
        host_id=host_id,
        owner=fields.get("owner", OWNER),
        keeper=fields.get("keeper", "key_1"),
        tools=(spec or client_tool(audience=Audience.HOSTS),),
        lease_ms=30_000,
        alive_until=store.clock.now + 30_000,
        created_at=store.clock.now_ms(),
        updated_at=store.clock.now_ms(),
    )
    return await store.clients.put_host(made, may_replace=fields.get("may_replace", False))


async def asked(store: StoreBox, spec: ToolSpec | None = None, run_id: str = "run_1") -> str:
    """A run that waits for a client; return the tool call."""
    tool = spec or client_tool()
    made = RunSpec(agent_name="helper", models=(MODEL,), tools=(tool,))
    await store.runs.accept(new_run(run_id, spec=made))
    await store.steps.close(await open_step(store, run_id), asks_tool(tool.effect))
    found = await look(store, run_id)
    assert isinstance(found, AwaitingClient), found
    return found.tool_call_id


async def look(store: StoreBox, run_id: str = "run_1") -> Opening:
    """Look as the workflow does after each wake-up."""
    return await store.steps.open(execution(run_id, "tool-1-0"))


def result(taken: Dispatch | str, outcome: ToolOutcome = SAID) -> Submission:
    token = taken if isinstance(taken, str) else taken.token
    return Submission(token, outcome, "ann", {"sent": True})


async def frozen(store: StoreBox) -> list[Any]:
    """Everything that a refused result must not change."""
    tables = ("runs", "events", "steps", "tool_calls", "tool_requests", "messages")
    return [sorted(map(str, await store.all(f"SELECT * FROM {table}"))) for table in tables]
