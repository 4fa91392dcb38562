"""Forks and retries of runs whose calls a client ran: what was answered is not asked again."""

from dataclasses import replace

import pytest

from domain.acceptance import ForkOf
from domain.errors import OutcomeUnknownError
from domain.run import RunState
from domain.step import AlreadyClosed, AwaitingClient
from domain.tool import Effect, Resolution, ToolCallStatus, ToolOutcome, Verdict
from tests.contract.client_scenes import LATE_MS, SAID, STARTER, asked, client_tool, look, result
from tests.contract.fork_scenes import calls, fork
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    FAILED,
    OWNER,
    answer,
    check_log,
    check_run,
    events,
    execution,
    must_open,
    new_run,
    open_step,
    transcript,
)

FAILURE = ToolOutcome(ok=False, content="no paper", error_code="printer")


async def _answered(store: StoreBox, how: str, effect: Effect = Effect.UNSAFE) -> None:
    """`run_1` with one client call that came to that end."""
    call_id = await asked(store, client_tool(effect))
    if how == "timeout":
        store.clock.now += LATE_MS
    else:
        taken = await store.clients.claim(STARTER, call_id)
        said = SAID if how == "succeeded" else FAILURE
        await store.clients.submit(OWNER, call_id, result(taken, said))
    assert await look(store) == AlreadyClosed({"status": how})


async def _end(store: StoreBox, how: str) -> None:
    store.clock.now += 1
    if how == "done":
        await store.steps.close(await open_step(store, "run_1", "llm-2-1"), answer("done"))
        await store.steps.finalize("run_1", DONE)
    elif how != "goes on":
        await store.steps.finalize("run_1", FAILED if how == "failed" else CANCELLED)


@pytest.mark.parametrize("how", ["succeeded", "failed", "timeout"])
@pytest.mark.parametrize("end", ["goes on", "done", "failed", "cancelled"])
async def test_an_answered_call_is_kept_by_a_fork(store: StoreBox, how: str, end: str) -> None:
    await _answered(store, how)
    await _end(store, end)
    before = await transcript(store, "s-run_1")

    await fork(store, 1)

    assert await look(store, "run_2") == AlreadyClosed({"status": how})
    (mine,), (first,) = await calls(store, "run_2"), await calls(store, "run_1")
    assert (mine.status, mine.result, mine.error) == (how, first.result, first.error)
    assert mine.idempotency_key == first.idempotency_key
    forked = (await events(store, "run_2"))[0]
    assert (forked["type"], forked["data"]["kept_calls"]) == ("run_forked", 1)
    opened = must_open(await store.steps.open(execution("run_2", "llm-2-1")))
    assert opened.attempt == 1
    assert (await transcript(store, "branch-run_2")) == before[:3]
    assert not await store.all("SELECT * FROM tool_requests WHERE run_id = 'run_2'")
    await check_log(store, "run_2")


@pytest.mark.parametrize("how", ["succeeded", "failed", "timeout"])
async def test_a_retry_and_a_fork_of_it_keep_what_a_client_answered(
    store: StoreBox, how: str
) -> None:
    await _answered(store, how)
    await _end(store, "failed")
    await fork(store, None)
    assert await look(store, "run_2") == AlreadyClosed({"status": how})
    store.clock.now += 1
    await store.steps.finalize("run_2", FAILED)

    source = await store.forks.source(OWNER, "run_2")
    again = new_run("run_3", "third", content=source.content, fork=ForkOf("run_2", None, by="eve"))
    await store.runs.accept(replace(again, spec=source.spec))

    assert await look(store, "run_3") == AlreadyClosed({"status": how})


@pytest.mark.parametrize("claimed", [False, True])
async def test_a_call_that_was_cut_with_its_run_is_asked_again_under_its_key(
    store: StoreBox, claimed: bool
) -> None:
    call_id = await asked(store, client_tool(Effect.IDEMPOTENT))
    if claimed:
        await store.clients.claim(STARTER, call_id)
    await _end(store, "cancelled")

    await fork(store, None)

    assert isinstance(await look(store, "run_2"), AwaitingClient)
    (mine,), (first,) = await calls(store, "run_2"), await calls(store, "run_1")
    assert mine.idempotency_key == first.idempotency_key
    await check_run(store, "run_2")


@pytest.mark.parametrize(
    ("resolution", "found"),
    [
        (Resolution.HAPPENED, AlreadyClosed({"status": "succeeded"})),
        (Resolution.GIVE_UP, AlreadyClosed({"status": "failed"})),
        (Resolution.NOT_HAPPENED, None),
    ],
)
async def test_an_unsafe_call_cut_with_its_run_waits_for_a_persons_word(
    store: StoreBox, resolution: Resolution, found: AlreadyClosed | None
) -> None:
    call_id = await asked(store)
    await store.clients.claim(STARTER, call_id)
    await _end(store, "cancelled")
    with pytest.raises(OutcomeUnknownError, match=call_id):
        await fork(store, None)
    store.clock.now += 1
    said = "sent" if resolution is Resolution.HAPPENED else ""
    verdict = Verdict(resolution=resolution, result=said, by="ann")
    await store.runs.resolve_tool_call(OWNER, call_id, verdict)

    run = (await fork(store, None)).run

    assert run.state is RunState.CREATED
    opened = await look(store, "run_2")
    assert opened == found if found else isinstance(opened, AwaitingClient)
    assert (await calls(store, "run_2"))[0].status != ToolCallStatus.OUTCOME_UNKNOWN
