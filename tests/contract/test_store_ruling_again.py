"""A changed policy reaches the calls that wait for a client which has not taken them."""

from typing import Any

import pytest

from domain.clients import Claim, Submission
from domain.errors import ConflictError, ToolCallSettledError
from domain.run import RunSpec
from domain.step import AlreadyClosed, AwaitingClient
from domain.tool import Audience, ClientSide, Effect, ToolOutcome, ToolSpec
from tests.contract.policy_scenes import (
    ASK,
    BLOCK,
    MAIL,
    NO,
    YES,
    approval,
    asked,
    decisions,
    look,
    put_policy,
    started,
)
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    MODEL,
    OWNER,
    check_run,
    transcript,
    types,
)

STARTER = Claim(owner=OWNER, caller="key_1", name="ann")
SAID = ToolOutcome(ok=True, content='{"sent":true}')


def client_tool(effect: Effect = Effect.UNSAFE) -> ToolSpec:
    side = ClientSide(audience=Audience.OWNER)
    changes = {"effect": effect, "source": "client", "client": side, "timeout_seconds": 60.0}
    return MAIL.model_copy(update=changes)


async def waits(store: StoreBox, policy: dict[str, Any] | None = None) -> str:
    """A run that waits for a client; return the call."""
    await put_policy(store, policy or {})
    await started(store, "run_1", spec=RunSpec(models=(MODEL,), tools=(client_tool(),)))
    return await waits_for_client(store)


async def waits_for_client(store: StoreBox) -> str:
    found = await look(store, "run_1")
    assert isinstance(found, AwaitingClient), found
    return found.tool_call_id


async def answers(store: StoreBox, call_id: str) -> None:
    taken = await store.clients.claim(STARTER, call_id)
    await store.clients.submit(OWNER, call_id, Submission(taken.token, SAID, "ann", {}))


async def test_a_call_that_is_blocked_by_now_is_closed_as_any_blocked_call(store: StoreBox) -> None:
    call_id = await waits(store)
    assert await store.clients.sweep() == []
    await put_policy(store, BLOCK)

    assert await store.clients.sweep() == ["run_1"]

    call = await store.runs.get_tool_call(OWNER, call_id)
    request = await store.clients.get_request(OWNER, call_id)
    assert (call.status, request.status) == ("rejected", "closed")
    assert call.error is not None
    assert call.error["code"] == "blocked"
    assert "no mail" in (await transcript(store, "s-run_1"))[-1][1]
    assert (await decisions(store, "run_1"))[-1] == ("block", "no mail")
    assert await store.steps.read_news("run_1") == ["tool-1-0"]
    assert await look(store, "run_1") == AlreadyClosed({"status": "rejected"})
    assert await store.steps.read_news("run_1") == []
    run = await store.runs.get_run(OWNER, "run_1")
    assert (run.waiting_on, run.usage.tool_calls) == (None, 1)
    with pytest.raises(ToolCallSettledError):
        await store.clients.claim(STARTER, call_id)
    assert await store.clients.sweep() == []
    await check_run(store, "run_1")


async def test_a_call_that_is_asked_about_by_now_waits_for_a_person_first(store: StoreBox) -> None:
    call_id = await waits(store)
    await put_policy(store, ASK)

    assert await store.clients.sweep() == ["run_1"]

    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on == "approval"
    with pytest.raises(ToolCallSettledError, match="a person is asked"):
        await store.clients.claim(STARTER, call_id)
    await check_run(store, "run_1")
    approval_id = await asked(store, "run_1")
    await store.approvals.decide(OWNER, approval_id, YES)
    assert await waits_for_client(store) == call_id
    await answers(store, call_id)
    assert await look(store, "run_1") == AlreadyClosed({"status": "succeeded"})
    kinds = await types(store, "run_1")
    assert (kinds.count("tool_request"), kinds.count("approval_required")) == (2, 1)
    assert (await store.runs.get_run(OWNER, "run_1")).usage.tool_calls == 1
    await check_run(store, "run_1")


async def test_who_rejects_such_a_call_ends_it(store: StoreBox) -> None:
    await waits(store)
    await put_policy(store, ASK)
    await store.clients.sweep()

    await store.approvals.decide(OWNER, await asked(store, "run_1"), NO)

    assert await look(store, "run_1") == AlreadyClosed({"status": "rejected"})
    assert (await store.runs.get_run(OWNER, "run_1")).usage.tool_calls == 1
    await check_run(store, "run_1")


async def test_a_run_that_ends_meanwhile_closes_the_question(store: StoreBox) -> None:
    await waits(store)
    await put_policy(store, ASK)
    await store.clients.sweep()
    approval_id = await asked(store, "run_1")

    await store.steps.finalize("run_1", CANCELLED)

    assert (await approval(store, approval_id)).status == "expired"
    await check_run(store, "run_1")


@pytest.mark.parametrize("policy", [ASK, BLOCK])
async def test_nothing_is_handed_out_between_the_change_and_the_new_ruling(
    store: StoreBox, policy: dict[str, Any]
) -> None:
    call_id = await waits(store)
    await put_policy(store, policy)

    with pytest.raises(ConflictError, match="was changed"):
        await store.clients.claim(STARTER, call_id)

    assert (await store.clients.get_request(OWNER, call_id)).status == "waiting"
    assert await store.clients.sweep() == ["run_1"]


async def test_a_change_that_still_allows_it_disturbs_nobody(store: StoreBox) -> None:
    call_id = await waits(store)
    await put_policy(store, {"rules": [{"tool": "other", "decision": "block"}]})

    await answers(store, call_id)

    assert await store.clients.sweep() == []


async def test_an_approval_is_still_the_answer_after_a_change(store: StoreBox) -> None:
    await put_policy(store, ASK)
    spec = RunSpec(models=(MODEL,), tools=(client_tool(),))
    await started(store, "run_1", spec=spec)
    await store.approvals.decide(OWNER, await asked(store, "run_1"), YES)
    call_id = await waits_for_client(store)
    await put_policy(store, {**ASK, "default": "ask"})

    assert await store.clients.sweep() == []
    await answers(store, call_id)


async def test_a_call_that_a_client_holds_is_left_alone(store: StoreBox) -> None:
    """It may have acted."""
    call_id = await waits(store)
    taken = await store.clients.claim(STARTER, call_id)
    await put_policy(store, BLOCK)

    assert await store.clients.sweep() == []
    said = Submission(taken.token, SAID, "ann", {})
    assert (await store.clients.submit(OWNER, call_id, said)).call.status == "succeeded"


async def test_an_agent_that_is_gone_changes_nothing(store: StoreBox) -> None:
    call_id = await waits(store)
    await store.directory.delete_agent(OWNER, "helper")

    assert await store.clients.sweep() == []
    await answers(store, call_id)


async def test_a_run_that_is_being_cancelled_is_not_ruled_on(store: StoreBox) -> None:
    await waits(store)
    await put_policy(store, BLOCK)
    await store.runs.ask_cancel(OWNER, "run_1", None)

    assert await store.clients.sweep() == []
