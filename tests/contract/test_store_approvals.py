"""Approvals: asked before a call runs, decided once, bound to exactly what runs."""

import asyncio
from typing import Any

import pytest

from domain.acceptance import IdempotencyKey, Page
from domain.approval import Answer, Approval, Remember, digest_of_call
from domain.deciding import ApprovalFilter
from domain.errors import (
    ApprovalDecidedError,
    ConflictError,
    IdempotencyKeyConflictError,
    InvalidRequestError,
    NotFoundError,
    RunTerminalError,
    StepRefusedError,
)
from domain.step import AlreadyClosed
from domain.tool import Effect, Resolution, ToolCallStatus, ToolOutcome, Verdict
from tests.contract.approval_scenes import ASK, NO, YES, ask_again, asked, get, put_policy
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    FAILED,
    OWNER,
    asks_tool,
    check_log,
    events,
    execution,
    must_open,
    new_run,
    open_step,
    transcript,
    types,
)


async def test_a_call_that_is_asked_for_waits_and_shows_what_will_run(store: StoreBox) -> None:
    approval_id = await asked(store)

    approval = await get(store, approval_id)
    run = await store.runs.get_run(OWNER, "run_1")
    call = await store.runs.get_tool_call(OWNER, approval.tool_call_id)
    assert (run.state, run.waiting_on) == ("RUNNING", "approval")
    assert call.status == "waiting_approval"
    assert (approval.status, approval.risk, approval.asker) == ("pending", "high", "agent helper")
    assert (approval.args, approval.args_summary) == ('{"to":"bob"}', 'mail(to="bob")')
    assert approval.args_digest == digest_of_call("mail", call.args, call.tool_call_id)
    assert (approval.why, approval.expires_at, approval.decided_by) == ("mail leaves", None, None)
    tail = (await types(store, "run_1"))[-3:]
    assert tail == ["policy_decision", "approval_required", "run_waiting"]
    await check_log(store, "run_1")


async def test_asking_again_changes_nothing(store: StoreBox) -> None:
    approval_id = await asked(store)
    before = await events(store, "run_1")

    assert await ask_again(store) == approval_id
    assert await events(store, "run_1") == before


async def test_an_approved_call_runs_and_the_decider_is_on_record(store: StoreBox) -> None:
    approval_id = await asked(store)

    approval = await store.approvals.decide(OWNER, approval_id, YES)
    run = await store.runs.get_run(OWNER, "run_1")
    attempt = await open_step(store, "run_1", "tool-1-0")
    await store.steps.close_tool(
        attempt, ToolCallStatus.SUCCEEDED, ToolOutcome(ok=True, content="")
    )

    assert approval == await get(store, approval_id)
    assert (approval.status, approval.decided_by) == ("approved", "eve")
    assert approval.decided_at is not None
    assert run.waiting_on is None
    kinds = await types(store, "run_1")
    assert kinds[-4:] == ["approval_decision", "run_resumed", "tool_dispatched", "tool_result"]
    decision = next(e for e in await events(store, "run_1") if e["type"] == "approval_decision")
    assert decision["data"]["decided_by"] == "eve"
    assert decision["data"]["args_digest"] == approval.args_digest
    await check_log(store, "run_1")


async def test_a_rejected_call_is_a_result_that_the_model_reads(store: StoreBox) -> None:
    approval_id = await asked(store)

    approval = await store.approvals.decide(OWNER, approval_id, NO)

    call = await store.runs.get_tool_call(OWNER, approval.tool_call_id)
    assert (approval.status, call.status) == ("rejected", "rejected")
    role, said = (await transcript(store, "s-run_1"))[-1]
    assert role == "tool"
    assert "not today" in said
    again = await store.steps.open(execution("run_1", "tool-1-0"))
    assert again == AlreadyClosed({"status": "rejected"})
    assert "tool_dispatched" not in await types(store, "run_1")
    await check_log(store, "run_1")


async def test_edited_arguments_are_what_runs(store: StoreBox) -> None:
    approval_id = await asked(store)

    edited = Answer(approved=True, by="eve", edited_args='{"to":"carol"}')
    approval = await store.approvals.decide(OWNER, approval_id, edited)
    opened = must_open(await store.steps.open(execution("run_1", "tool-1-0")))

    assert opened.args == '{"to":"carol"}'
    assert (approval.args, approval.edited_args) == ('{"to":"bob"}', '{"to":"carol"}')
    digest = digest_of_call("mail", '{"to":"carol"}', approval.tool_call_id)
    assert approval.edited_digest == digest != approval.args_digest
    decision = next(e for e in await events(store, "run_1") if e["type"] == "approval_decision")
    assert decision["data"]["edited_args"] == {"to": "carol"}
    said = await store.steps.read_transcript(OWNER, "s-run_1")
    assert said[-1].tool_calls[0].arguments == '{"to":"carol"}'


async def test_an_edit_that_changes_nothing_is_none(store: StoreBox) -> None:
    approval_id = await asked(store)

    same = Answer(approved=True, by="eve", edited_args='{ "to": "bob" }')
    approval = await store.approvals.decide(OWNER, approval_id, same)

    assert (approval.edited_args, approval.edited_digest) == (None, None)


@pytest.mark.parametrize(
    "said",
    [
        Answer(approved=True, by="eve", edited_args="[1]"),
        Answer(approved=True, by="eve", edited_args="{broken"),
        Answer(approved=False, by="eve", edited_args="{}"),
        Answer(approved=False, by="eve", remember=Remember.AGENT),
    ],
)
async def test_an_answer_that_makes_no_sense_is_refused(store: StoreBox, said: Answer) -> None:
    approval_id = await asked(store)

    with pytest.raises(InvalidRequestError):
        await store.approvals.decide(OWNER, approval_id, said)
    assert (await get(store, approval_id)).status == "pending"


async def test_arguments_that_changed_after_the_approval_do_not_run(store: StoreBox) -> None:
    approval_id = await asked(store)
    await store.approvals.decide(OWNER, approval_id, YES)
    sql = 'UPDATE tool_calls SET args = \'{"to":"mallory"}\''
    await store.write(lambda tx: tx.run(sql))

    with pytest.raises(StepRefusedError) as refused:
        await store.steps.open(execution("run_1", "tool-1-0"))
    assert refused.value.reason == "approval_mismatch"
    assert "tool_dispatched" not in await types(store, "run_1")


async def test_the_first_decision_wins_and_others_learn_of_it(store: StoreBox) -> None:
    approval_id = await asked(store)
    answers = [YES if n % 2 else NO for n in range(20)]

    said = await asyncio.gather(
        *(store.approvals.decide(OWNER, approval_id, answer) for answer in answers),
        return_exceptions=True,
    )

    winners = [one for one in said if isinstance(one, Approval)]
    losers = [one for one in said if isinstance(one, ApprovalDecidedError)]
    assert (len(winners), len(losers)) == (1, 19)
    assert all(str(winners[0].decided_by) in loser.message for loser in losers)
    assert (await types(store, "run_1")).count("approval_decision") == 1
    await check_log(store, "run_1")


async def test_repeats_of_one_decision_are_one_and_all_are_told_so(store: StoreBox) -> None:
    approval_id = await asked(store)
    book, key = store.approvals, IdempotencyKey("decide", "dec-1", "same")

    said = await asyncio.gather(
        *(book.decide_once(OWNER, approval_id, YES, key) for _ in range(10))
    )
    with pytest.raises(IdempotencyKeyConflictError):
        await book.decide_once(OWNER, approval_id, NO, IdempotencyKey("decide", "dec-1", "other"))
    with pytest.raises(ApprovalDecidedError) as late:
        await book.decide_once(OWNER, approval_id, YES, IdempotencyKey("decide", "dec-2", "same"))

    approval = await get(store, approval_id)
    assert all(one == approval for one, _ in said)
    assert sorted(replayed for _, replayed in said) == [False] + [True] * 9
    assert (late.value.first.decision, late.value.first.decided_by) == ("approved", "eve")
    assert late.value.first.decided_at == approval.decided_at
    assert (await types(store, "run_1")).count("approval_decision") == 1
    await check_log(store, "run_1")


async def test_what_was_asked_lately_is_told_whatever_became_of_it(store: StoreBox) -> None:
    first = await asked(store)
    store.clock.now += 60_000
    second = await asked(store, "run_2")
    await store.approvals.decide(OWNER, second, NO)

    assert await store.approvals.recent(OWNER, 1000) == {second: 1}
    assert list(await store.approvals.recent(None, 100_000)) == [first, second]
    assert await store.approvals.recent("nobody", 100_000) == {}
    assert await store.approvals.pending(OWNER) == {first: 0}


async def test_a_refused_decision_does_not_use_up_its_key(store: StoreBox) -> None:
    approval_id = await asked(store)
    key = IdempotencyKey("decide", "dec-1", "same")
    stale = YES.model_copy(update={"args_digest": "0"})

    for _ in range(2):
        with pytest.raises(ConflictError, match="other arguments"):
            await store.approvals.decide_once(OWNER, approval_id, stale, key)
    _, replayed = await store.approvals.decide_once(OWNER, approval_id, YES, key)

    assert not replayed


async def test_an_answer_about_other_arguments_is_refused(store: StoreBox) -> None:
    """An old tab: what it shows is not what is asked about."""
    approval_id = await asked(store)

    with pytest.raises(ConflictError, match="other arguments"):
        await store.approvals.decide(
            OWNER, approval_id, YES.model_copy(update={"args_digest": "0"})
        )
    right = (await get(store, approval_id)).args_digest
    await store.approvals.decide(OWNER, approval_id, YES.model_copy(update={"args_digest": right}))


async def test_an_approval_of_another_owner_or_none_is_not_found(store: StoreBox) -> None:
    approval_id = await asked(store)

    for owner, which in (("bob", approval_id), (OWNER, "ap_0"), (None, "ap_0")):
        with pytest.raises(NotFoundError):
            await store.approvals.decide(owner, which, YES)
        with pytest.raises(NotFoundError):
            await store.approvals.get_approval(owner, which)
    assert await store.approvals.list_approvals("bob", ApprovalFilter(), Page()) == ([], None)
    assert await store.approvals.pending("bob") == {}


@pytest.mark.parametrize("finish", [FAILED, CANCELLED])
async def test_a_run_that_ends_closes_its_questions(store: StoreBox, finish: Any) -> None:
    approval_id = await asked(store)

    await store.steps.finalize("run_1", finish)

    approval = await get(store, approval_id)
    assert (approval.status, approval.decided_by) == ("expired", None)
    with pytest.raises(RunTerminalError):
        await store.approvals.decide(OWNER, approval_id, YES)
    kinds = await types(store, "run_1")
    assert kinds[-3:-1] == ["approval_expired", "tool_result"]
    assert await store.approvals.pending(OWNER) == {}
    await check_log(store, "run_1")


async def test_a_decision_for_a_run_that_is_being_cancelled_is_refused(store: StoreBox) -> None:
    approval_id = await asked(store)
    await store.runs.ask_cancel(OWNER, "run_1", None)

    with pytest.raises(RunTerminalError, match="being cancelled"):
        await store.approvals.decide(OWNER, approval_id, YES)


async def test_a_run_resumes_when_its_last_question_is_answered(store: StoreBox) -> None:
    await put_policy(store, ASK)
    await store.runs.accept(new_run("run_1"))
    closing = asks_tool(Effect.UNSAFE, Effect.UNSAFE, Effect.UNSAFE)
    await store.steps.close(await open_step(store, "run_1"), closing)
    asking = [await ask_again(store, step=f"tool-1-{index}") for index in range(3)]

    waits = []
    for approval_id in asking:
        await store.approvals.decide(OWNER, approval_id, YES)
        waits.append((await store.runs.get_run(OWNER, "run_1")).waiting_on)

    assert waits == ["approval", "approval", None]
    assert (await types(store, "run_1")).count("run_resumed") == 1


async def test_an_unknown_outcome_keeps_the_run_waiting_after_an_answer(store: StoreBox) -> None:
    await put_policy(store, ASK)
    await store.runs.accept(new_run("run_1"))
    closing = asks_tool(Effect.UNSAFE, Effect.UNSAFE)
    await store.steps.close(await open_step(store, "run_1"), closing)
    first, second = [await ask_again(store, step=f"tool-1-{index}") for index in range(2)]
    await store.approvals.decide(OWNER, first, YES)
    await store.steps.mark_unknown(await open_step(store, "run_1", "tool-1-0"), "cut")

    await store.approvals.decide(OWNER, second, YES)

    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on == "approval"


async def test_a_decision_is_delivered_again_until_the_workflow_has_read_it(
    store: StoreBox,
) -> None:
    approval_id = await asked(store)
    (waiting,) = await store.upkeep.open_runs(store.clock.now + 10, 10)
    await store.approvals.decide(OWNER, approval_id, YES)
    (decided,) = await store.upkeep.open_runs(store.clock.now + 10, 10)
    await open_step(store, "run_1", "tool-1-0")
    (read,) = await store.upkeep.open_runs(store.clock.now + 10, 10)

    found = [run.resolved_unseen for run in (waiting, decided, read)]
    assert found == [False, True, False]


async def test_a_rejection_is_delivered_again_too(store: StoreBox) -> None:
    approval_id = await asked(store)
    await store.approvals.decide(OWNER, approval_id, NO)
    (before,) = await store.upkeep.open_runs(store.clock.now + 10, 10)

    await store.steps.open(execution("run_1", "tool-1-0"))

    (after,) = await store.upkeep.open_runs(store.clock.now + 10, 10)
    assert (before.resolved_unseen, after.resolved_unseen) == (True, False)


async def test_approvals_are_listed_newest_first_by_status_and_run(store: StoreBox) -> None:
    ids = [await asked(store, f"run_{number}") for number in range(5)]
    await store.approvals.decide(OWNER, ids[0], NO)

    async def listed(which: ApprovalFilter) -> list[str]:
        found, cursor = [], None
        while True:
            page, cursor = await store.approvals.list_approvals(OWNER, which, Page(2, cursor))
            found += [one.approval_id for one in page]
            if cursor is None:
                return found

    assert await listed(ApprovalFilter()) == ids[::-1]
    assert await listed(ApprovalFilter(status="pending")) == ids[:0:-1]
    assert await listed(ApprovalFilter(run_id="run_3")) == [ids[3]]
    assert list(await store.approvals.pending(None)) == ids[1:]


async def test_a_call_whose_outcome_is_no_question_says_what_to_do_instead(
    store: StoreBox,
) -> None:
    approval_id = await asked(store)
    call_id = (await get(store, approval_id)).tool_call_id
    said = Verdict(resolution=Resolution.GIVE_UP, by="eve")

    with pytest.raises(ConflictError, match=r"waiting_approval, not outcome_unknown: .* decide"):
        await store.runs.resolve_tool_call(OWNER, call_id, said)
    await store.approvals.decide(OWNER, approval_id, NO)
    with pytest.raises(ConflictError, match=f"is rejected, .*/v1/tool_calls/{call_id}"):
        await store.runs.resolve_tool_call(OWNER, call_id, said)
