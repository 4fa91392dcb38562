"""Nothing runs that the policy blocks: no edit gets past it, no approval outlives a change."""

from typing import Any

import pytest

from domain.approval import BY_TIMEOUT, Answer
from domain.errors import ConflictError, InvalidRequestError
from domain.run import RunSpec
from domain.step import AlreadyClosed
from domain.tool import Effect, Resolution, Verdict
from tests.contract.policy_scenes import (
    ASK,
    BLOCK,
    MAIL,
    YES,
    approval,
    asked,
    asks,
    call_ends,
    decisions,
    look,
    put_policy,
    started,
)
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    MODEL,
    OWNER,
    check_log,
    check_run,
    events,
    execution,
    must_open,
    new_run,
    open_step,
    transcript,
)

TYPED = RunSpec(models=(MODEL,), tools=(MAIL,))
BY_ARGS: dict[str, Any] = {
    "rules": [
        {
            "tool": "mail",
            "when": [{"arg": "to", "op": "eq", "value": "mallory"}],
            "decision": "block",
            "reason": "never to mallory",
        },
        {
            "tool": "mail",
            "when": [{"arg": "to", "op": "eq", "value": "dave"}],
            "decision": "allow",
            "reason": "dave may",
        },
        {"tool": "mail", "decision": "ask", "reason": "mail leaves"},
    ]
}
BLOCKED = AlreadyClosed({"status": "rejected"})


def edit(to: str) -> Answer:
    return YES.model_copy(update={"edited_args": f'{{"to":"{to}"}}'})


async def question(store: StoreBox, policy: dict[str, Any] = BY_ARGS) -> str:
    await put_policy(store, policy)
    await started(store, "run_1", spec=TYPED)
    return await asked(store, "run_1")


async def test_an_edit_that_a_rule_blocks_decides_nothing(store: StoreBox) -> None:
    approval_id = await question(store)
    before = await events(store, "run_1")

    with pytest.raises(ConflictError, match="never to mallory"):
        await store.approvals.decide(OWNER, approval_id, edit("mallory"))

    assert (await approval(store, approval_id)).status == "pending"
    assert await events(store, "run_1") == before
    await store.approvals.decide(OWNER, approval_id, edit("carol"))
    assert must_open(await look(store, "run_1")).args == '{"to":"carol"}'


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("carol", ("ask", "the edited arguments: mail leaves")),
        ("dave", ("allow", "the edited arguments: dave may")),
    ],
)
async def test_an_edit_is_ruled_on_and_this_approval_answers_what_is_asked(
    store: StoreBox, to: str, said: tuple[str, str]
) -> None:
    approval_id = await question(store)

    await store.approvals.decide(OWNER, approval_id, edit(to))

    assert await decisions(store, "run_1") == [("ask", "mail leaves"), said]
    must_open(await look(store, "run_1"))
    await check_log(store, "run_1")


async def test_an_approval_without_an_edit_is_no_second_ruling(store: StoreBox) -> None:
    approval_id = await question(store)

    await store.approvals.decide(OWNER, approval_id, edit("bob"))

    assert await decisions(store, "run_1") == [("ask", "mail leaves")]


@pytest.mark.parametrize("args", ["{}", '{"to":5}', '{"to":"carol","cc":"eve"}'])
async def test_an_edit_that_does_not_fit_the_tool_decides_nothing(
    store: StoreBox, args: str
) -> None:
    approval_id = await question(store)

    with pytest.raises(InvalidRequestError, match="do not fit mail"):
        await store.approvals.decide(
            OWNER, approval_id, YES.model_copy(update={"edited_args": args})
        )

    assert (await approval(store, approval_id)).status == "pending"


async def test_what_the_policy_blocks_by_now_cannot_be_approved(store: StoreBox) -> None:
    """Between the change and the moment when it is ruled on again."""
    approval_id = await question(store)
    await put_policy(store, BLOCK)

    with pytest.raises(ConflictError, match="no mail"):
        await store.approvals.decide(OWNER, approval_id, YES)

    settled = await store.approvals.revisit(approval_id)
    assert settled is not None
    assert settled.status == "rejected"


async def test_an_approved_call_that_has_not_begun_is_blocked_by_a_changed_policy(
    store: StoreBox,
) -> None:
    await store.approvals.decide(OWNER, await question(store), YES)
    await put_policy(store, BLOCK)

    assert await look(store, "run_1") == BLOCKED
    assert await look(store, "run_1") == BLOCKED

    assert (await decisions(store, "run_1"))[1:] == [("block", "no mail")]
    assert "no mail" in (await transcript(store, "s-run_1"))[-1][1]
    assert await store.steps.read_news("run_1") == []
    await check_run(store, "run_1")


async def test_so_is_one_that_nobody_answered_in_time(store: StoreBox) -> None:
    asking = {"expires_in_seconds": 0.5, "on_timeout": "approve"}
    approval_id = await question(store, {**ASK, "approval": asking})
    await put_policy(store, BLOCK)
    store.clock.now += 600

    assert await look(store, "run_1") == BLOCKED

    found = await approval(store, approval_id)
    assert (found.status, found.decided_by) == ("approved", BY_TIMEOUT)
    await check_run(store, "run_1")


async def test_a_question_that_would_be_asked_by_now_was_answered_by_the_approval(
    store: StoreBox,
) -> None:
    await store.approvals.decide(OWNER, await question(store, ASK), YES)
    await put_policy(store, BY_ARGS)

    must_open(await look(store, "run_1"))


async def unclear(store: StoreBox) -> str:
    """A call of which nobody knows whether it happened."""
    await put_policy(store, {})
    await store.runs.accept(new_run("run_1"))
    await asks(store, "run_1")
    attempt = await open_step(store, "run_1", "tool-1-0")
    return await store.steps.mark_unknown(attempt, "cut")


NOT_HAPPENED = Verdict(resolution=Resolution.NOT_HAPPENED, by="ann")


async def test_a_call_that_did_not_happen_is_not_run_again_where_it_is_blocked(
    store: StoreBox,
) -> None:
    call_id = await unclear(store)
    await put_policy(store, BLOCK)

    await store.runs.resolve_tool_call(OWNER, call_id, NOT_HAPPENED)

    assert await look(store, "run_1") == BLOCKED
    again = await look(store, "run_1")
    assert isinstance(again, AlreadyClosed)
    assert again.result["status"] == "rejected"
    assert (await decisions(store, "run_1"))[-1] == ("block", "no mail")
    assert await store.steps.read_news("run_1") == []
    await check_run(store, "run_1")


async def test_who_says_that_it_did_not_happen_has_answered_what_would_be_asked(
    store: StoreBox,
) -> None:
    call_id = await unclear(store)
    await put_policy(store, ASK)

    await store.runs.resolve_tool_call(OWNER, call_id, NOT_HAPPENED)

    await call_ends(store, "run_1")
    await check_run(store, "run_1")


async def test_an_attempt_that_failed_is_tried_again_whatever_the_policy_says(
    store: StoreBox,
) -> None:
    """It may have acted: a policy that was changed since must not make it look as if not."""
    await put_policy(store, {})
    await store.runs.accept(new_run("run_1"))
    await asks(store, "run_1", Effect.IDEMPOTENT)
    await store.steps.fail(await open_step(store, "run_1", "tool-1-0"))
    await put_policy(store, BLOCK)

    must_open(await store.steps.open(execution("run_1", "tool-1-0")))
