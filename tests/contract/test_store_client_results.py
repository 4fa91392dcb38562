"""Results of clients: a call is handed out to one at a time, answered once, and never wrongly."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from domain.clients import Dispatch, Submission
from domain.errors import (
    DispatchRefusedError,
    DispatchSupersededError,
    InvalidRequestError,
    NotFoundError,
    OrchestratorError,
    RequestExpiredError,
    RequestTakenError,
    RunTerminalError,
    ToolCallSettledError,
)
from domain.step import AlreadyClosed, AwaitingClient, OutcomeUnknown
from domain.tool import Resolution, ToolOutcome, Verdict
from tests.contract.client_scenes import (
    LATE_MS,
    SAID,
    STARTER,
    asked,
    client_tool,
    frozen,
    look,
    result,
)
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import DONE, FAILED, OWNER, check_log, check_run, transcript, types


async def test_a_result_with_its_token_is_what_the_model_reads(store: StoreBox) -> None:
    call_id = await asked(store)
    taken = await store.clients.claim(STARTER, call_id)
    assert (await store.runs.get_tool_call(OWNER, call_id)).status == "running"

    done = await store.clients.submit(OWNER, call_id, result(taken))

    assert (done.call.status, done.call.result, done.replayed) == ("succeeded", SAID.content, False)
    assert await look(store) == AlreadyClosed({"status": "succeeded"})
    assert (await transcript(store, "s-run_1"))[-1] == ("tool", SAID.content)
    assert (await types(store, "run_1"))[-2:] == ["tool_result", "run_resumed"]
    await check_run(store, "run_1")


async def test_an_error_of_a_client_is_read_too(store: StoreBox) -> None:
    call_id = await asked(store)
    taken = await store.clients.claim(STARTER, call_id)

    failed = ToolOutcome(ok=False, content="no paper", error_code="printer")
    done = await store.clients.submit(OWNER, call_id, result(taken, failed))

    assert done.call.error == {"code": "printer", "message": "no paper"}
    assert await look(store) == AlreadyClosed({"status": "failed"})
    await check_run(store, "run_1")


async def test_only_the_digest_of_a_token_is_kept(store: StoreBox) -> None:
    call_id = await asked(store)
    taken = await store.clients.claim(STARTER, call_id)

    assert len(taken.token) > 43
    assert taken.token not in str(await frozen(store))


async def test_the_same_result_again_is_answered_as_the_first_time(store: StoreBox) -> None:
    call_id = await asked(store)
    taken = await store.clients.claim(STARTER, call_id)
    first = await store.clients.submit(OWNER, call_id, result(taken))
    await look(store)
    await store.steps.finalize("run_1", DONE)
    before = await frozen(store)

    again = await store.clients.submit(OWNER, call_id, result(taken))

    assert again == replace(first, replayed=True)
    assert await frozen(store) == before


Break = Callable[[StoreBox, str, Dispatch], Awaitable[Submission]]
"""Makes a result that must not count."""


async def _forged(_store: StoreBox, _call: str, _taken: Dispatch) -> Submission:
    return result("dt_" + "A" * 43)


async def _of_another_call(store: StoreBox, _call: str, _taken: Dispatch) -> Submission:
    other = await asked(store, run_id="run_2")
    return result(await store.clients.claim(STARTER, other))


async def _superseded(store: StoreBox, call_id: str, taken: Dispatch) -> Submission:
    await store.clients.claim(replace(STARTER, key="k"), call_id)
    return result(taken)


async def _second(store: StoreBox, call_id: str, taken: Dispatch) -> Submission:
    await store.clients.submit(OWNER, call_id, result(taken))
    return result(taken, ToolOutcome(ok=True, content="something else"))


async def _after_the_deadline(store: StoreBox, _call: str, taken: Dispatch) -> Submission:
    store.clock.now += LATE_MS
    return result(taken)


async def _after_the_timeout(store: StoreBox, _call: str, taken: Dispatch) -> Submission:
    store.clock.now += LATE_MS
    assert isinstance(await look(store), OutcomeUnknown)
    return result(taken)


async def _after_the_run(store: StoreBox, _call: str, taken: Dispatch) -> Submission:
    await store.steps.finalize("run_1", FAILED)
    return result(taken)


async def _after_the_cancel(store: StoreBox, _call: str, taken: Dispatch) -> Submission:
    await store.runs.ask_cancel(OWNER, "run_1", "enough")
    return result(taken)


async def _after_not_happened(store: StoreBox, call_id: str, taken: Dispatch) -> Submission:
    """A person says that it did not happen; it is asked for anew, and the first holder wakes up."""
    store.clock.now += LATE_MS
    await look(store)
    said = Verdict(resolution=Resolution.NOT_HAPPENED, by="eve")
    await store.runs.resolve_tool_call(OWNER, call_id, said)
    assert isinstance(await look(store), AwaitingClient)
    return result(taken)


@pytest.mark.parametrize(
    ("variant", "error"),
    [
        (_forged, DispatchRefusedError),
        (_of_another_call, DispatchRefusedError),
        (_superseded, DispatchSupersededError),
        (_second, ToolCallSettledError),
        (_after_the_deadline, RequestExpiredError),
        (_after_the_timeout, ToolCallSettledError),
        (_after_the_run, RunTerminalError),
        (_after_the_cancel, RunTerminalError),
        (_after_not_happened, DispatchSupersededError),
    ],
)
async def test_a_result_that_does_not_count_changes_nothing(
    store: StoreBox, variant: Break, error: type[OrchestratorError]
) -> None:
    """Attack 32: forged, replayed, late and double results."""
    call_id = await asked(store)
    # With a key, so that a repeated claim is the same one.
    taken = await store.clients.claim(replace(STARTER, key="k"), call_id)
    said = await variant(store, call_id, taken)
    before = await frozen(store)

    with pytest.raises(error):
        await store.clients.submit(OWNER, call_id, said)

    assert await frozen(store) == before
    await check_run(store, "run_1")


async def test_nobody_answers_for_another_owner(store: StoreBox) -> None:
    call_id = await asked(store)
    taken = await store.clients.claim(STARTER, call_id)

    with pytest.raises(NotFoundError):
        await store.clients.submit("bob", call_id, result(taken))
    with pytest.raises(NotFoundError):
        await store.clients.claim(replace(STARTER, owner="bob"), call_id)


async def test_a_call_that_nobody_claimed_takes_no_result(store: StoreBox) -> None:
    call_id = await asked(store)

    with pytest.raises(DispatchRefusedError):
        await store.clients.submit(OWNER, call_id, result("dt_" + "A" * 43))


async def test_a_result_that_breaks_the_schema_may_be_sent_again_right(store: StoreBox) -> None:
    schema = {"type": "object", "required": ["sent"]}
    call_id = await asked(store, client_tool(result_schema=schema))
    taken = await store.clients.claim(STARTER, call_id)

    wrong = replace(result(taken), value={"snet": True})
    with pytest.raises(InvalidRequestError, match="lacks sent"):
        await store.clients.submit(OWNER, call_id, wrong)

    assert (await store.clients.submit(OWNER, call_id, result(taken))).call.status == "succeeded"


async def test_many_answer_at_once_and_one_counts(store: StoreBox) -> None:
    call_id = await asked(store)
    taken = await store.clients.claim(STARTER, call_id)
    sent = [result(taken, ToolOutcome(ok=True, content=f"{n}")) for n in range(8)]

    answers = await asyncio.gather(
        *(store.clients.submit(OWNER, call_id, one) for one in sent), return_exceptions=True
    )

    refused = [one for one in answers if isinstance(one, ToolCallSettledError)]
    assert len(refused) == 7
    assert (await types(store, "run_1")).count("tool_result") == 1
    await check_log(store, "run_1")


async def test_many_claim_at_once_and_one_has_it(store: StoreBox) -> None:
    call_id = await asked(store)

    answers = await asyncio.gather(
        *(store.clients.claim(STARTER, call_id) for _ in range(8)), return_exceptions=True
    )

    assert sum(isinstance(one, RequestTakenError) for one in answers) == 7


async def test_a_claim_whose_answer_was_lost_is_repeated(store: StoreBox) -> None:
    call_id = await asked(store)
    who = replace(STARTER, key="k1")
    lost = await store.clients.claim(who, call_id)

    again = await store.clients.claim(who, call_id)

    assert again.request.dispatch == 1
    assert again.token != lost.token
    with pytest.raises(RequestTakenError):
        await store.clients.claim(replace(who, key="k2"), call_id)
    assert not (await store.clients.submit(OWNER, call_id, result(again))).replayed
