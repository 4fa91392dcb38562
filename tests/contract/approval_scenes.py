"""Questions about a call of a tool, and answers to them, for the store's contract tests."""

from typing import Any

from domain.agent import Agent, AgentKind
from domain.approval import Answer, Approval
from domain.step import AwaitingApproval
from domain.tool import Effect
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import OWNER, asks_tool, execution, new_run, open_step

YES = Answer(approved=True, by="eve")
NO = Answer(approved=False, by="mallory", reason="not today")
ASK: dict[str, Any] = {"rules": [{"tool": "mail", "decision": "ask", "reason": "mail leaves"}]}
BLOCK: dict[str, Any] = {"rules": [{"tool": "mail", "decision": "block", "reason": "no mail"}]}
BRIEF: dict[str, Any] = {**ASK, "approval": {"expires_in_seconds": 0.5}}


async def put_policy(store: StoreBox, policy: dict[str, Any], agent_id: str = "helper") -> None:
    agent = Agent(
        agent_id=agent_id,
        owner=OWNER,
        kind=AgentKind.LLM,
        name=agent_id,
        tool_policy=policy,
        created_at=1,
        updated_at=store.clock.now_ms(),
    )
    await store.directory.put_agent(agent, replace=True)


async def asked(
    store: StoreBox, run_id: str = "run_1", policy: dict[str, Any] = ASK, **fields: Any
) -> str:
    """A run whose one unsafe call waits for a person; return the approval."""
    await put_policy(store, policy)
    await store.runs.accept(new_run(run_id, **fields))
    await store.steps.close(await open_step(store, run_id), asks_tool(Effect.UNSAFE))
    return await ask_again(store, run_id)


async def ask_again(store: StoreBox, run_id: str = "run_1", step: str = "tool-1-0") -> str:
    found = await store.steps.open(execution(run_id, step))
    assert isinstance(found, AwaitingApproval), found
    return found.approval_id


async def get(store: StoreBox, approval_id: str) -> Approval:
    return await store.approvals.get_approval(OWNER, approval_id)
