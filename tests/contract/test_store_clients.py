"""Tools that clients run: who is asked and when, and what becomes of the run meanwhile."""

from dataclasses import replace
from typing import Any

import pytest

from domain.run import RunKind, RunSpec
from domain.step import AlreadyClosed, AwaitingApproval, AwaitingClient
from domain.tool import Effect, ToolSpec
from tests.contract.approval_scenes import ASK, YES, put_policy
from tests.contract.client_scenes import SAID, STARTER, asked, client_tool, look, result
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    MODEL,
    OWNER,
    asks_tool,
    check_run,
    events,
    execution,
    must_open,
    new_run,
    open_step,
    transcript,
)


async def test_a_client_is_asked_and_the_run_waits_without_a_step(store: StoreBox) -> None:
    call_id = await asked(store)

    run = await store.runs.get_run(OWNER, "run_1")
    call = await store.runs.get_tool_call(OWNER, call_id)
    assert (run.state, run.waiting_on, run.usage.tool_calls) == ("RUNNING", "client_tool", 1)
    assert call.status == "dispatched"
    assert await store.all("SELECT * FROM steps WHERE step_id = 'tool-1-0'") == []
    tail = (await events(store, "run_1"))[-4:]
    assert [event["type"] for event in tail] == [
        *("policy_decision", "tool_dispatched", "tool_request", "run_waiting")
    ]
    request = tail[2]["data"]
    assert request["args"] == {"to": "bob"}
    assert "token" not in str(tail)
    await check_run(store, "run_1")


async def test_looking_again_asks_nobody_twice(store: StoreBox) -> None:
    await asked(store)
    before = await events(store, "run_1")

    again = [await look(store) for _ in range(3)]

    assert all(isinstance(one, AwaitingClient) for one in again)
    assert await events(store, "run_1") == before


async def test_an_untaken_call_times_out_with_a_result_for_the_model(store: StoreBox) -> None:
    await asked(store, client_tool(timeout_seconds=5))
    store.clock.now += 6000

    assert await look(store) == AlreadyClosed({"status": "timeout"})
    assert "within 5 s" in (await transcript(store, "s-run_1"))[-1][1]
    await check_run(store, "run_1")


async def test_arguments_that_do_not_fit_reach_no_client(store: StoreBox) -> None:
    spec = client_tool().model_copy(
        update={"parameters": {"type": "object", "required": ["from"], "properties": {}}}
    )
    made = RunSpec(agent_name="helper", models=(MODEL,), tools=(spec,))
    await store.runs.accept(new_run("run_1", spec=made))
    await store.steps.close(await open_step(store, "run_1"), asks_tool(Effect.UNSAFE))

    assert await look(store) == AlreadyClosed({"status": "failed", "invalid": True})
    assert "lacks from" in (await transcript(store, "s-run_1"))[-1][1]
    assert await store.all("SELECT * FROM tool_requests") == []


async def test_the_policy_is_asked_before_a_client_is(store: StoreBox) -> None:
    await put_policy(store, ASK)
    made = RunSpec(agent_name="helper", models=(MODEL,), tools=(client_tool(),))
    await store.runs.accept(new_run("run_1", spec=made))
    await store.steps.close(await open_step(store, "run_1"), asks_tool(Effect.UNSAFE))
    waiting = await look(store)
    assert isinstance(waiting, AwaitingApproval)
    assert await store.all("SELECT * FROM tool_requests") == []

    await store.approvals.decide(OWNER, waiting.approval_id, YES)

    assert isinstance(await look(store), AwaitingClient)
    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on == "client_tool"
    await check_run(store, "run_1")


async def test_a_policy_that_tightens_later_does_not_ask_about_a_dispatched_call(
    store: StoreBox,
) -> None:
    await asked(store)
    await put_policy(store, ASK)

    assert isinstance(await look(store), AwaitingClient)


async def test_a_run_that_waits_for_both_says_so_in_turn(store: StoreBox) -> None:
    """People come first; when they are done it still waits for the client."""
    await put_policy(store, {"rules": [{"tool": "post", "decision": "ask"}]})
    post = client_tool().model_copy(update={"name": "post"})
    made = RunSpec(agent_name="helper", models=(MODEL,), tools=(client_tool(), post))
    await store.runs.accept(new_run("run_1", spec=made))
    closing = asks_tool(Effect.UNSAFE, Effect.UNSAFE)
    first, second = closing.tool_calls
    calls = (first, replace(second, name="post"))
    await store.steps.close(await open_step(store, "run_1"), replace(closing, tool_calls=calls))

    seen = []
    await look(store)
    seen.append((await store.runs.get_run(OWNER, "run_1")).waiting_on)
    asked_for = await store.steps.open(execution("run_1", "tool-1-1"))
    assert isinstance(asked_for, AwaitingApproval)
    seen.append((await store.runs.get_run(OWNER, "run_1")).waiting_on)
    await store.approvals.decide(OWNER, asked_for.approval_id, replace_no())
    seen.append((await store.runs.get_run(OWNER, "run_1")).waiting_on)
    taken = await store.clients.claim(STARTER, first.tool_call_id)
    await store.clients.submit(OWNER, first.tool_call_id, result(taken))
    seen.append((await store.runs.get_run(OWNER, "run_1")).waiting_on)

    assert seen == ["client_tool", "approval", "client_tool", None]
    await check_run(store, "run_1")


def replace_no() -> Any:
    return YES.model_copy(update={"approved": False})


@pytest.mark.parametrize("is_taken", [True, False])
async def test_a_cancelled_run_closes_its_request(store: StoreBox, is_taken: bool) -> None:
    call_id = await asked(store)
    if is_taken:
        await store.clients.claim(STARTER, call_id)

    await store.steps.finalize("run_1", CANCELLED)

    call = await store.runs.get_tool_call(OWNER, call_id)
    assert call.status == ("outcome_unknown" if is_taken else "failed")
    assert (await store.one("SELECT status FROM tool_requests"))["status"] == "closed"
    assert await store.clients.sweep() == []
    await check_run(store, "run_1")


async def test_a_lost_wake_up_is_seen_by_the_reconciler(store: StoreBox) -> None:
    call_id = await asked(store)
    taken = await store.clients.claim(STARTER, call_id)
    await store.clients.submit(OWNER, call_id, result(taken))

    (found,) = await store.upkeep.open_runs(store.clock.now + 1, 10)
    assert found.resolved_unseen
    await look(store)
    (found,) = await store.upkeep.open_runs(store.clock.now + 1, 10)
    assert not found.resolved_unseen


async def test_a_tool_called_by_hand_is_run_by_a_client_too(store: StoreBox) -> None:
    tool = client_tool()
    made = replace(
        new_run("run_1"),
        kind=RunKind.TOOL,
        spec=RunSpec(kind=RunKind.TOOL, tools=(tool,)),
        agent_id=None,
        session_id=None,
        tool_call_id="tc_1",
        args='{"to":"bob"}',
    )
    await store.runs.accept(made)
    assert isinstance(await look(store), AwaitingClient)
    taken = await store.clients.claim(STARTER, "tc_1")
    await store.clients.submit(OWNER, "tc_1", result(taken))

    assert (await store.runs.get_run(OWNER, "run_1")).output == {
        "role": "tool",
        "content": SAID.content,
    }
    await check_run(store, "run_1")


async def test_a_tool_of_ours_opens_a_step_as_ever(store: StoreBox) -> None:
    """The other tools of a run that has a client's are not asked of clients."""
    here = ToolSpec(name="mail", description="Send.", parameters={"type": "object"})
    away = client_tool().model_copy(update={"name": "post"})
    made = RunSpec(agent_name="helper", models=(MODEL,), tools=(here, away))
    await store.runs.accept(new_run("run_1", spec=made))
    await store.steps.close(await open_step(store, "run_1"), asks_tool(Effect.NONE))

    must_open(await look(store))
