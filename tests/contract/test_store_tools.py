"""Tool calls: run once, unknown when nobody can tell, resolved by a person."""

import json

import pytest

from domain.acceptance import Page
from domain.errors import ConflictError, NotFoundError
from domain.run import RunState
from domain.step import AlreadyClosed, Attempt, Finish, OutcomeUnknown
from domain.tool import Effect, Resolution, ToolCallStatus, ToolOutcome, Verdict
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    OWNER,
    check_log,
    events,
    execution,
    must_open,
    new_run,
    new_tool_run,
    open_step,
    start_with_tools,
    transcript,
    types,
)

SENT = ToolOutcome(ok=True, content="sent")
BROKEN = ToolOutcome(ok=False, content="no such address", error_code="tool_error")
HAPPENED = Verdict(resolution=Resolution.HAPPENED, by="eve", result="it was sent")
NOT_HAPPENED = Verdict(resolution=Resolution.NOT_HAPPENED, by="eve")
GIVE_UP = Verdict(resolution=Resolution.GIVE_UP, by="eve")


async def unknown_call(store: StoreBox, run_id: str = "run_1") -> str:
    """A run whose unsafe call was opened by a worker that is gone."""
    (call_id,) = await start_with_tools(store, run_id, Effect.UNSAFE)
    await open_step(store, run_id, "tool-1-0")
    found = await store.steps.open(execution(run_id, "tool-1-0"))
    assert found == OutcomeUnknown(call_id)
    return call_id


async def test_a_call_runs_and_its_answer_reaches_the_model(store: StoreBox) -> None:
    (call_id,) = await start_with_tools(store, "run_1", Effect.NONE)
    opened = must_open(await store.steps.open(execution("run_1", "tool-1-0")))
    running = await store.runs.get_tool_call(OWNER, call_id)

    attempt = Attempt("run_1", "tool-1-0", opened.attempt)
    await store.steps.close_tool(attempt, ToolCallStatus.SUCCEEDED, SENT)

    call = await store.runs.get_tool_call(OWNER, call_id)
    assert (opened.args, opened.tool_call_id) == ('{"to":"bob"}', call_id)
    assert running.status == "running"
    assert (call.status, call.result, call.error) == ("succeeded", "sent", None)
    assert call.ended_at == store.clock.now
    assert (await transcript(store, "s-run_1"))[-1] == ("tool", "sent")
    last = (await store.steps.read_transcript(OWNER, "s-run_1"))[-1]
    assert last.tool_call_id == call_id
    assert (await types(store, "run_1"))[-2:] == ["tool_dispatched", "tool_result"]
    again = await store.steps.open(execution("run_1", "tool-1-0"))
    assert again == AlreadyClosed({"status": "succeeded", "content": "sent"})
    await check_log(store, "run_1")


@pytest.mark.parametrize(
    "said", ["[NaN, 1e999]", "[" * 985 + "]" * 985, "[" * 100_000, '{"a": 1}', "\x00\ud800", ""]
)
async def test_odd_results_are_kept_and_shown_as_valid_json(store: StoreBox, said: str) -> None:
    (call_id,) = await start_with_tools(store, "run_1", Effect.NONE)
    attempt = await open_step(store, "run_1", "tool-1-0")

    outcome = ToolOutcome(ok=True, content=said)
    await store.steps.close_tool(attempt, ToolCallStatus.SUCCEEDED, outcome)

    *_, last = await store.log.read("run_1", 0, 1000)
    json.loads(last.envelope, parse_constant=pytest.fail)
    call = await store.runs.get_tool_call(OWNER, call_id)
    assert call.result == said.replace("\x00", "\ufffd").replace("\ud800", "?")


async def test_an_error_reaches_the_model_as_text(store: StoreBox) -> None:
    (call_id,) = await start_with_tools(store, "run_1", Effect.NONE)

    attempt = await open_step(store, "run_1", "tool-1-0")
    await store.steps.close_tool(attempt, ToolCallStatus.FAILED, BROKEN)

    call = await store.runs.get_tool_call(OWNER, call_id)
    assert (call.status, call.result) == ("failed", None)
    assert call.error == {"code": "tool_error", "message": "no such address"}
    assert (await transcript(store, "s-run_1"))[-1] == ("tool", "no such address")


@pytest.mark.parametrize("effect", [Effect.NONE, Effect.IDEMPOTENT])
async def test_a_safe_call_whose_worker_is_lost_runs_again(store: StoreBox, effect: Effect) -> None:
    await start_with_tools(store, "run_1", effect)
    await open_step(store, "run_1", "tool-1-0")

    again = must_open(await store.steps.open(execution("run_1", "tool-1-0")))

    assert again.attempt == 2
    assert (await types(store, "run_1")).count("tool_dispatched") == 2


async def test_an_unsafe_call_whose_worker_is_lost_waits_for_a_person(store: StoreBox) -> None:
    call_id = await unknown_call(store)

    run = await store.runs.get_run(OWNER, "run_1")
    call = await store.runs.get_tool_call(OWNER, call_id)
    assert (run.state, run.waiting_on) == ("RUNNING", "approval")
    assert (call.status, call.resolution) == ("outcome_unknown", None)
    assert (await types(store, "run_1"))[-2:] == ["outcome_unknown", "run_waiting"]
    assert await store.steps.open(execution("run_1", "tool-1-0")) == OutcomeUnknown(call_id)
    await check_log(store, "run_1")


async def test_the_same_execution_of_an_unsafe_call_still_owns_it(store: StoreBox) -> None:
    await start_with_tools(store, "run_1", Effect.UNSAFE)
    who = execution("run_1", "tool-1-0")
    await store.steps.open(who)

    assert must_open(await store.steps.open(who)).attempt == 1


async def test_an_unsafe_call_that_failed_for_sure_may_run_again(store: StoreBox) -> None:
    await start_with_tools(store, "run_1", Effect.UNSAFE)
    await store.steps.fail(await open_step(store, "run_1", "tool-1-0"))

    assert (await open_step(store, "run_1", "tool-1-0")).number == 2


async def test_a_call_that_was_cut_is_marked_unknown_by_its_worker(store: StoreBox) -> None:
    (call_id,) = await start_with_tools(store, "run_1", Effect.UNSAFE)
    attempt = await open_step(store, "run_1", "tool-1-0")

    assert await store.steps.mark_unknown(attempt, "cut after 30 s") == call_id
    assert await store.steps.open(execution("run_1", "tool-1-0")) == OutcomeUnknown(call_id)


async def test_it_happened_gives_the_model_the_result(store: StoreBox) -> None:
    call_id = await unknown_call(store)

    run = await store.runs.resolve_tool_call(OWNER, call_id, HAPPENED)

    call = await store.runs.get_tool_call(OWNER, call_id)
    assert run == await store.runs.get_run(OWNER, "run_1")
    assert run.waiting_on is None
    assert (call.status, call.result) == ("succeeded", "it was sent")
    assert (call.resolution, call.resolved_by) == ("happened", "eve")
    assert (await transcript(store, "s-run_1"))[-1] == ("tool", "it was sent")
    assert (await types(store, "run_1"))[-2:] == ["tool_result", "run_resumed"]
    again = await store.steps.open(execution("run_1", "tool-1-0"))
    assert again == AlreadyClosed({"status": "succeeded", "content": "it was sent"})
    await check_log(store, "run_1")


async def test_it_did_not_happen_runs_the_call_again(store: StoreBox) -> None:
    call_id = await unknown_call(store)

    run = await store.runs.resolve_tool_call(OWNER, call_id, NOT_HAPPENED)
    attempt = await open_step(store, "run_1", "tool-1-0")
    await store.steps.close_tool(attempt, ToolCallStatus.SUCCEEDED, SENT)

    call = await store.runs.get_tool_call(OWNER, call_id)
    assert run.waiting_on is None
    assert attempt.number == 2
    assert (call.status, call.result, call.resolution) == ("succeeded", "sent", "not_happened")
    await check_log(store, "run_1")


async def test_giving_up_gives_the_model_an_error(store: StoreBox) -> None:
    call_id = await unknown_call(store)

    await store.runs.resolve_tool_call(OWNER, call_id, GIVE_UP)

    call = await store.runs.get_tool_call(OWNER, call_id)
    assert (call.status, call.resolution) == ("failed", "give_up")
    assert call.error is not None
    assert call.error["code"] == "gave_up"
    assert isinstance(await store.steps.open(execution("run_1", "tool-1-0")), AlreadyClosed)


async def test_only_one_person_resolves(store: StoreBox) -> None:
    call_id = await unknown_call(store)
    await store.runs.resolve_tool_call(OWNER, call_id, HAPPENED)

    with pytest.raises(ConflictError, match="eve said happened"):
        await store.runs.resolve_tool_call(OWNER, call_id, GIVE_UP)


async def test_a_call_of_another_owner_or_none_is_not_found(store: StoreBox) -> None:
    call_id = await unknown_call(store)

    for owner, which in (("bob", call_id), (OWNER, "tc_0"), (None, "tc_0")):
        with pytest.raises(NotFoundError):
            await store.runs.resolve_tool_call(owner, which, HAPPENED)
    await store.runs.resolve_tool_call(None, call_id, HAPPENED)


async def test_a_call_can_become_unknown_and_be_resolved_more_than_once(store: StoreBox) -> None:
    """Each episode has its own events, also when two fall into one millisecond."""
    call_id = await unknown_call(store)
    for _ in range(3):
        store.clock.now = 1_700_000_000_000
        await store.runs.resolve_tool_call(OWNER, call_id, NOT_HAPPENED)
        await open_step(store, "run_1", "tool-1-0")
        waiting = await store.steps.open(execution("run_1", "tool-1-0"))
        assert waiting == OutcomeUnknown(call_id)
        call = await store.runs.get_tool_call(OWNER, call_id)
        assert (call.resolution, call.status) == (None, "outcome_unknown")

    kinds = await types(store, "run_1")
    assert (kinds.count("run_waiting"), kinds.count("run_resumed")) == (4, 3)
    await check_log(store, "run_1")


async def test_a_run_resumes_when_its_last_unknown_call_is_resolved(store: StoreBox) -> None:
    first, second = await start_with_tools(store, "run_1", Effect.UNSAFE, Effect.UNSAFE)
    for index in range(2):
        attempt = await open_step(store, "run_1", f"tool-1-{index}")
        await store.steps.mark_unknown(attempt, "cut")

    one = await store.runs.resolve_tool_call(OWNER, first, HAPPENED)
    both = await store.runs.resolve_tool_call(OWNER, second, GIVE_UP)

    assert (one.waiting_on, both.waiting_on) == ("approval", None)
    assert (await types(store, "run_1")).count("run_resumed") == 1


async def test_a_run_that_ends_leaves_its_unknown_call_to_be_resolved(store: StoreBox) -> None:
    """The transcript gets an answer at once; what really happened can still be put on record."""
    call_id = await unknown_call(store)
    await store.steps.finalize("run_1", CANCELLED)
    before = await events(store, "run_1")
    ended = await store.runs.get_tool_call(OWNER, call_id)

    run = await store.runs.resolve_tool_call(OWNER, call_id, HAPPENED)

    call = await store.runs.get_tool_call(OWNER, call_id)
    assert ended.status == "outcome_unknown"
    assert (call.status, call.result, call.resolved_by) == ("succeeded", "it was sent", "eve")
    assert call.error is None
    assert run.state is RunState.CANCELLED
    assert await events(store, "run_1") == before
    said = await transcript(store, "s-run_1")
    assert said[-1][0] == "tool"
    assert "unknown" in said[-1][1]


@pytest.mark.parametrize(
    ("verdict", "code"), [(NOT_HAPPENED, "not_happened"), (GIVE_UP, "gave_up")]
)
async def test_resolving_after_the_end_never_runs_anything(
    store: StoreBox, verdict: Verdict, code: str
) -> None:
    call_id = await unknown_call(store)
    await store.steps.finalize("run_1", CANCELLED)

    await store.runs.resolve_tool_call(OWNER, call_id, verdict)

    call = await store.runs.get_tool_call(OWNER, call_id)
    assert (call.status, call.result) == ("failed", None)
    assert call.error is not None
    assert call.error["code"] == code
    with pytest.raises(ConflictError):
        await store.runs.resolve_tool_call(OWNER, call_id, HAPPENED)


async def test_a_tool_run_ends_with_the_result_as_its_output(store: StoreBox) -> None:
    await store.runs.accept(new_tool_run("run_1"))
    attempt = await open_step(store, "run_1", "tool-1-0")
    await store.steps.close_tool(attempt, ToolCallStatus.SUCCEEDED, SENT)

    await store.steps.finalize("run_1", DONE)

    run = await store.runs.get_run(OWNER, "run_1")
    assert run.output == {"role": "tool", "content": "sent"}
    assert await types(store, "run_1") == [
        "tool_call_created",
        "run_started",
        "policy_decision",
        "tool_dispatched",
        "tool_result",
        "run_done",
    ]
    assert (await events(store, "run_1"))[-1]["data"]["final_message"] == run.output


async def test_a_tool_run_that_a_person_resolves_has_that_output(store: StoreBox) -> None:
    await store.runs.accept(new_tool_run("run_1", Effect.UNSAFE))
    attempt = await open_step(store, "run_1", "tool-1-0")
    call_id = await store.steps.mark_unknown(attempt, "cut")

    await store.runs.resolve_tool_call(OWNER, call_id, HAPPENED)
    await store.steps.finalize("run_1", DONE)

    run = await store.runs.get_run(OWNER, "run_1")
    assert run.output == {"role": "tool", "content": "it was sent"}


async def test_a_step_of_no_tool_call_cannot_be_opened_as_one(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    with pytest.raises(NotFoundError):
        await store.steps.open(execution("run_1", "tool-9-9"))
    assert (await store.runs.get_run(OWNER, "run_1")).state is RunState.CREATED


async def test_what_was_resolved_is_marked_as_seen_when_the_workflow_looks(
    store: StoreBox,
) -> None:
    """The reconciler wakes a run again until its workflow has opened the step."""
    call_id = await unknown_call(store)
    await store.runs.resolve_tool_call(OWNER, call_id, HAPPENED)
    (before,) = await store.upkeep.open_runs(store.clock.now + 10, 10)

    await store.steps.open(execution("run_1", "tool-1-0"))

    (after,) = await store.upkeep.open_runs(store.clock.now + 10, 10)
    assert (before.resolved_unseen, after.resolved_unseen) == (True, False)


async def test_an_open_tool_call_of_a_failed_run_says_so(store: StoreBox) -> None:
    created, running, unsafe, _ = await start_with_tools(
        store, "run_1", Effect.NONE, Effect.NONE, Effect.UNSAFE, Effect.UNSAFE
    )
    await open_step(store, "run_1", "tool-1-1")
    await open_step(store, "run_1", "tool-1-2")

    await store.steps.finalize("run_1", Finish(RunState.FAILED, "max_seconds", "too slow"))

    calls, _ = await store.runs.list_tool_calls(OWNER, "run_1", None, Page())
    status = {call.tool_call_id: call.status for call in calls}
    assert (status[created], status[running]) == ("failed", "failed")
    assert status[unsafe] == "outcome_unknown"
    assert sorted(status.values()) == ["failed", "failed", "failed", "outcome_unknown"]
    said = await transcript(store, "s-run_1")
    assert [role for role, _ in said] == ["user", "assistant", "tool", "tool", "tool", "tool"]
    await check_log(store, "run_1")
