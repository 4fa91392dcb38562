"""Approvals that nobody answers in time: rejected, approved, or put to the next ones."""

import pytest

from domain.approval import BY_TIMEOUT
from domain.errors import ApprovalExpiredError
from domain.step import AlreadyClosed
from tests.contract.approval_scenes import ASK, BRIEF, YES, ask_again, asked, get
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import OWNER, check_log, execution, must_open, transcript, types


async def test_a_question_that_nobody_answers_is_a_rejection(store: StoreBox) -> None:
    approval_id = await asked(store, policy=BRIEF)
    store.clock.now += 600

    with pytest.raises(ApprovalExpiredError):
        await store.approvals.decide(OWNER, approval_id, YES)
    found = await store.steps.open(execution("run_1", "tool-1-0"))

    approval = await get(store, approval_id)
    assert found == AlreadyClosed({"status": "rejected"})
    assert (approval.status, approval.decided_by) == ("expired", BY_TIMEOUT)
    assert (await types(store, "run_1"))[-3:] == ["approval_expired", "tool_result", "run_resumed"]
    assert "in time" in (await transcript(store, "s-run_1"))[-1][1]
    with pytest.raises(ApprovalExpiredError):
        await store.approvals.decide(OWNER, approval_id, YES)
    await check_log(store, "run_1")


async def test_a_question_may_be_an_approval_when_its_time_is_over(store: StoreBox) -> None:
    policy = {**ASK, "approval": {"expires_in_seconds": 0.5, "on_timeout": "approve"}}
    approval_id = await asked(store, policy=policy)
    store.clock.now += 600

    must_open(await store.steps.open(execution("run_1", "tool-1-0")))

    approval = await get(store, approval_id)
    assert (approval.status, approval.decided_by) == ("approved", BY_TIMEOUT)
    await check_log(store, "run_1")


async def test_a_question_is_put_to_the_next_ones_in_turn(store: StoreBox) -> None:
    asking = {"expires_in_seconds": 0.5, "on_timeout": "escalate", "escalate_to": ["ann", "boss"]}
    approval_id = await asked(store, policy={**ASK, "approval": asking})
    asks = []

    for _ in range(2):
        store.clock.now += 600
        await ask_again(store)
        asks.append((await get(store, approval_id)).asks)
    store.clock.now += 600
    last = await store.steps.open(execution("run_1", "tool-1-0"))

    assert asks == ["ann", "boss"]
    assert last == AlreadyClosed({"status": "rejected"})
    kinds = await types(store, "run_1")
    assert (kinds.count("approval_required"), kinds.count("approval_expired")) == (3, 3)
    await check_log(store, "run_1")


async def test_who_is_asked_after_an_escalation_may_still_answer(store: StoreBox) -> None:
    asking = {"expires_in_seconds": 0.5, "on_timeout": "escalate", "escalate_to": ["boss"]}
    approval_id = await asked(store, policy={**ASK, "approval": asking})
    store.clock.now += 600
    await ask_again(store)

    assert (await store.approvals.decide(OWNER, approval_id, YES)).status == "approved"
