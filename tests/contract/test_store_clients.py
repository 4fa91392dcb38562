"""Tools that clients run: asked once, handed out to one at a time, answered once."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from domain.acceptance import Page
from domain.clients import Claim, Dispatch, Submission, ToolHost
from domain.errors import (
    DispatchRefusedError,
    DispatchSupersededError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    OrchestratorError,
    RequestExpiredError,
    RequestTakenError,
    RunTerminalError,
    ToolCallSettledError,
)
from domain.run import RunKind, RunSpec
from domain.step import AlreadyClosed, AwaitingApproval, AwaitingClient, Opening, OutcomeUnknown
from domain.tool import (
    Audience,
    ClientSide,
    Effect,
    Offline,
    Resolution,
    ToolOutcome,
    ToolSpec,
    Verdict,
)
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    FAILED,
    MODEL,
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
from tests.contract.test_store_approvals import ASK, YES, put_policy
from tests.contract.test_store_fold import check_run

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


async def test_an_untaken_call_times_out_with_a_result_for_the_model(store: StoreBox) -> None:
    await asked(store, client_tool(timeout_seconds=5))
    store.clock.now += 6000

    assert await look(store) == AlreadyClosed({"status": "timeout"})
    assert "within 5 s" in (await transcript(store, "s-run_1"))[-1][1]
    await check_run(store, "run_1")


@pytest.mark.parametrize("effect", Effect)
@pytest.mark.parametrize("by", ["the workflow", "the sweep"])
async def test_a_taken_call_that_times_out_ends_by_its_effect(
    store: StoreBox, effect: Effect, by: str
) -> None:
    call_id = await asked(store, client_tool(effect))
    await store.clients.claim(STARTER, call_id)
    store.clock.now += LATE_MS

    if by == "the sweep":
        assert await store.clients.sweep() == ["run_1"]
        assert await store.clients.sweep() == []
    found = await look(store)

    if effect is Effect.UNSAFE:
        assert found == OutcomeUnknown(call_id)
        assert (await store.runs.get_run(OWNER, "run_1")).waiting_on == "approval"
    else:
        assert found == AlreadyClosed({"status": "timeout"})
    await check_run(store, "run_1")


@pytest.mark.parametrize("effect", Effect)
async def test_a_host_that_dies_loses_its_call_by_the_effect(
    store: StoreBox, effect: Effect
) -> None:
    spec = client_tool(effect, audience=Audience.HOSTS, timeout_seconds=3600)
    await put_host(store, "laptop", spec)
    call_id = await asked(store, spec)
    first = await store.clients.claim(LAPTOP, call_id)
    store.clock.now += 31_000
    await put_host(store, "desk", spec)

    assert [one.tool_call_id for one in await store.clients.waiting(DESK)] == (
        [] if effect is Effect.UNSAFE else [call_id]
    )
    if effect is Effect.UNSAFE:
        with pytest.raises(RequestTakenError):
            await store.clients.claim(DESK, call_id)
        assert await store.clients.sweep() == ["run_1"]
        assert await look(store) == OutcomeUnknown(call_id)
        return
    second = await store.clients.claim(DESK, call_id)
    assert second.request.dispatch == 2
    with pytest.raises(DispatchSupersededError):
        await store.clients.submit(OWNER, call_id, result(first))
    await store.clients.submit(OWNER, call_id, result(second))
    assert await look(store) == AlreadyClosed({"status": "succeeded"})


async def test_a_holder_that_was_only_slow_is_taken_at_its_word(store: StoreBox) -> None:
    spec = client_tool(Effect.IDEMPOTENT, audience=Audience.HOSTS, timeout_seconds=3600)
    await put_host(store, "laptop", spec)
    call_id = await asked(store, spec)
    taken = await store.clients.claim(LAPTOP, call_id)
    store.clock.now += 31_000
    await store.clients.beat(LAPTOP, ())
    await store.clients.sweep()

    assert (await store.clients.submit(OWNER, call_id, result(taken))).call.status == "succeeded"


async def test_heartbeats_keep_what_they_name(store: StoreBox) -> None:
    spec = client_tool(audience=Audience.HOSTS, timeout_seconds=3600)
    await put_host(store, "laptop", spec)
    mine, other = await asked(store, spec), await asked(store, spec, "run_2")
    await store.clients.claim(LAPTOP, mine)
    await store.clients.claim(LAPTOP, other)
    for _ in range(5):
        store.clock.now += 20_000
        await store.clients.beat(LAPTOP, [mine])
        await store.clients.sweep()

    told = await store.clients.beat(LAPTOP, [mine, other, "tc_no"])
    assert (told.kept, told.lost) == ((mine,), tuple(sorted((other, "tc_no"))))
    assert isinstance(await look(store), AwaitingClient)
    assert isinstance(await look(store, "run_2"), OutcomeUnknown)


async def test_a_tool_whose_host_is_away_fails_at_once_or_waits(store: StoreBox) -> None:
    failing = client_tool(audience=Audience.HOSTS, offline=Offline.FAIL)
    await put_host(store, "laptop", failing)
    store.clock.now += 31_000
    made = RunSpec(agent_name="helper", models=(MODEL,), tools=(failing,))
    await store.runs.accept(new_run("run_1", spec=made))
    await store.steps.close(await open_step(store, "run_1"), asks_tool(Effect.UNSAFE))

    assert await look(store) == AlreadyClosed({"status": "failed"})
    (call,) = await store.all("SELECT error FROM tool_calls")
    assert "client_offline" in call["error"]
    assert (await store.runs.get_run(OWNER, "run_1")).waiting_on is None
    await check_run(store, "run_1")

    await asked(store, client_tool(audience=Audience.HOSTS), "run_2")
    assert isinstance(await look(store, "run_2"), AwaitingClient)


async def test_a_call_whose_hosts_go_away_before_one_took_it_fails(store: StoreBox) -> None:
    failing = client_tool(audience=Audience.HOSTS, offline=Offline.FAIL, timeout_seconds=3600)
    await put_host(store, "laptop", failing)
    await asked(store, failing)
    assert await store.clients.sweep() == []
    store.clock.now += 31_000

    assert await store.clients.sweep() == ["run_1"]
    assert await look(store) == AlreadyClosed({"status": "failed"})


async def test_arguments_that_do_not_fit_reach_no_client(store: StoreBox) -> None:
    spec = client_tool().model_copy(
        update={"parameters": {"type": "object", "required": ["from"], "properties": {}}}
    )
    made = RunSpec(agent_name="helper", models=(MODEL,), tools=(spec,))
    await store.runs.accept(new_run("run_1", spec=made))
    await store.steps.close(await open_step(store, "run_1"), asks_tool(Effect.UNSAFE))

    assert await look(store) == AlreadyClosed({"status": "failed"})
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


async def test_a_host_speaks_with_the_key_that_registered_it(store: StoreBox) -> None:
    await put_host(store)
    call_id = await asked(store, client_tool(audience=Audience.HOSTS))
    thief = replace(LAPTOP, caller="key_2")

    with pytest.raises(ForbiddenError):
        await put_host(store, keeper="key_2")
    with pytest.raises(ForbiddenError):
        await put_host(store, "evil", keeper="key_2")
    with pytest.raises(ForbiddenError):
        await store.clients.beat(thief, ())
    with pytest.raises(ForbiddenError):
        await store.clients.claim(thief, call_id)
    with pytest.raises(ForbiddenError):
        await store.clients.waiting(thief)
    with pytest.raises(ForbiddenError):
        await store.clients.claim(STARTER, call_id)
    assert (await put_host(store, keeper="key_2", may_replace=True)).keeper == "key_2"


async def test_hosts_are_listed_forgotten_and_of_one_owner(store: StoreBox) -> None:
    await put_host(store, "laptop")
    await put_host(store, "desk")
    await put_host(store, "laptop", owner="bob", keeper="key_9")

    first, cursor = await store.clients.list_hosts(OWNER, Page(limit=1))
    rest, end = await store.clients.list_hosts(OWNER, Page(limit=1, cursor=cursor))
    assert sorted(host.host_id for host in (*first, *rest)) == ["desk", "laptop"]
    assert end is None
    assert list(await store.clients.tools(OWNER)) == ["mail"]
    await store.clients.drop_host(OWNER, "laptop")
    with pytest.raises(NotFoundError):
        await store.clients.get_host(OWNER, "laptop")
    assert (await store.clients.get_host("bob", "laptop")).owner == "bob"


async def test_what_a_dropped_host_held_is_free_again(store: StoreBox) -> None:
    spec = client_tool(Effect.NONE, audience=Audience.HOSTS)
    await put_host(store, "laptop", spec)
    await put_host(store, "desk", spec)
    call_id = await asked(store, spec)
    await store.clients.claim(LAPTOP, call_id)

    await store.clients.drop_host(OWNER, "laptop")

    assert (await store.clients.claim(DESK, call_id)).request.dispatch == 2


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
