"""Accepting a run: durable, once, in its place."""

import asyncio
from dataclasses import replace

import pytest

from domain.acceptance import IdempotencyKey
from domain.errors import (
    IdempotencyKeyConflictError,
    NotFoundError,
    QueueFullError,
    RunTerminalError,
    SessionBusyError,
)
from domain.run import RunState
from domain.session import OnBusy
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    DONE,
    OWNER,
    check_log,
    events,
    new_run,
    new_tool_run,
    transcript,
    types,
)

KEY = IdempotencyKey(scope="POST /v1/runs", key="k-1", fingerprint="body-1")


async def test_an_accepted_run_is_on_record_with_its_input(store: StoreBox) -> None:
    accepted = await store.runs.accept(new_run("run_1", "s1", metadata={"a": 1}, priority=2))

    run = await store.runs.get_run(OWNER, "run_1")
    assert accepted.run == run
    assert (accepted.queued, accepted.replayed) == (False, False)
    assert (run.state, run.last_seq, run.root_run_id, run.depth) == ("CREATED", 1, "run_1", 0)
    assert (run.metadata, run.priority) == ({"a": 1}, 2)
    assert await transcript(store, "s1") == [("user", "hello from run_1")]
    (event,) = await events(store, "run_1")
    assert event["event_id"] == "evt_1_1"
    assert event["data"] == {
        "role": "user",
        "content": "hello from run_1",
        "message_id": "msg_run_1",
    }
    await check_log(store, "run_1")


async def test_a_route_is_told_after_the_input(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", route={"agent_id": "helper", "reason": "best match"}))

    assert await types(store, "run_1") == ["user_input", "route_decided"]


async def test_the_same_key_and_body_find_the_same_run(store: StoreBox) -> None:
    first = await store.runs.accept(new_run("run_1", "s1", idempotency=KEY))
    again = await store.runs.accept(new_run("run_2", "s1", idempotency=KEY))

    assert again.replayed
    assert again.run.run_id == first.run.run_id
    assert again.spec == first.spec
    assert await transcript(store, "s1") == [("user", "hello from run_1")]
    with pytest.raises(NotFoundError):
        await store.runs.get_run(OWNER, "run_2")


async def test_a_replay_is_answered_even_when_the_queue_is_full(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", idempotency=KEY))

    again = await store.runs.accept(new_run("run_2", idempotency=KEY, max_open_runs=1))

    assert again.replayed


async def test_the_same_key_with_another_body_is_refused(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", idempotency=KEY))

    with pytest.raises(IdempotencyKeyConflictError):
        await store.runs.accept(new_run("run_2", idempotency=replace(KEY, fingerprint="body-2")))


@pytest.mark.parametrize("change", [{"scope": "other"}, {"key": "k-2"}])
async def test_another_key_or_scope_is_another_run(store: StoreBox, change: dict[str, str]) -> None:
    await store.runs.accept(new_run("run_1", idempotency=KEY))

    other = await store.runs.accept(new_run("run_2", idempotency=replace(KEY, **change)))

    assert not other.replayed


async def test_another_owner_with_the_same_key_gets_a_run_of_its_own(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", idempotency=KEY))

    other = await store.runs.accept(new_run("run_2", owner="bob", idempotency=KEY))

    assert other.run.run_id == "run_2"


async def test_a_refused_run_does_not_use_up_its_key(store: StoreBox) -> None:
    """What is refused leaves nothing behind, so that the retry with the same key is accepted."""
    refused = new_run("run_1", idempotency=KEY, max_open_runs=0)
    with pytest.raises(QueueFullError):
        await store.runs.accept(refused)

    accepted = await store.runs.accept(replace(refused, max_open_runs=1))

    assert not accepted.replayed
    assert [event.run_id for event in store.committed] == ["run_1"]


async def test_a_key_whose_run_was_removed_is_not_answered_with_another(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", idempotency=KEY))
    await store.set("DELETE FROM runs")

    with pytest.raises(NotFoundError, match="run_1"):
        await store.runs.accept(new_run("run_2", idempotency=KEY))


async def test_more_open_runs_than_allowed_are_refused(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", max_open_runs=1))

    with pytest.raises(QueueFullError):
        await store.runs.accept(new_run("run_2", max_open_runs=1))

    await store.steps.finalize("run_1", DONE)
    await store.runs.accept(new_run("run_2", max_open_runs=1))


async def test_a_second_message_waits_for_the_session(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    second = await store.runs.accept(new_run("run_2", "s1"))
    third = await store.runs.accept(new_run("run_3", "s1"))

    session = await store.directory.get_session(OWNER, "s1")
    assert second.queued
    assert third.queued
    assert (session.active_run_id, session.queued_run_ids) == ("run_1", ("run_2", "run_3"))
    assert session.message_count == 1
    assert await transcript(store, "s1") == [("user", "hello from run_1")]


async def test_a_busy_session_can_refuse_instead(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.directory.update_session(OWNER, "s1", {"on_busy": OnBusy.REJECT})

    with pytest.raises(SessionBusyError):
        await store.runs.accept(new_run("run_2", "s1"))
    queued = await store.runs.accept(new_run("run_3", "s1", on_busy=OnBusy.ENQUEUE))

    assert queued.queued


@pytest.mark.parametrize("policy", OnBusy)
async def test_what_a_request_says_of_a_busy_session_is_for_its_message_alone(
    store: StoreBox, policy: OnBusy
) -> None:
    """Also of the message that makes the session: its next ones did not ask for that."""
    await store.runs.accept(new_run("run_1", "s1", on_busy=policy))

    second = await store.runs.accept(new_run("run_2", "s1"))

    assert (second.run.run_id, second.queued) == ("run_2", True)
    assert (await store.directory.get_session(OWNER, "s1")).on_busy is OnBusy.ENQUEUE


async def test_sessions_of_two_owners_are_two_sessions(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))

    other = await store.runs.accept(new_run("run_2", "s1", owner="bob"))

    assert not other.queued
    assert (await store.directory.get_session("bob", "s1")).active_run_id == "run_2"


async def test_a_child_stands_below_its_parent(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.runs.accept(new_run("run_2", parent_run_id="run_1"))
    accepted = await store.runs.accept(new_run("run_3", parent_run_id="run_2"))

    run = accepted.run
    assert (run.parent_run_id, run.root_run_id, run.depth) == ("run_2", "run_1", 2)
    (event,) = await events(store, "run_3")
    assert (event["root_run_id"], event["parent_run_id"], event["depth"]) == ("run_1", "run_2", 2)


async def test_a_parent_that_ended_takes_no_children(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.steps.finalize("run_1", DONE)

    with pytest.raises(RunTerminalError):
        await store.runs.accept(new_run("run_2", parent_run_id="run_1"))


async def test_a_parent_of_another_owner_is_not_found(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    with pytest.raises(NotFoundError):
        await store.runs.accept(new_run("run_2", owner="bob", parent_run_id="run_1"))
    with pytest.raises(NotFoundError):
        await store.runs.accept(new_run("run_3", parent_run_id="run_0"))


async def test_a_tool_run_has_its_call_and_no_session(store: StoreBox) -> None:
    accepted = await store.runs.accept(new_tool_run("run_1"))

    call = await store.runs.get_tool_call(OWNER, "tc_run_1")
    assert (accepted.run.session_id, accepted.run.usage.tool_calls) == (None, 0)
    assert (call.status, call.step, call.args) == ("created", "tool-1-0", '{"to":"bob"}')
    assert call.idempotency_key == "run_1:tc_run_1"
    assert await types(store, "run_1") == ["tool_call_created"]
    await check_log(store, "run_1")


async def test_twenty_requests_with_one_key_make_one_run(store: StoreBox) -> None:
    requests = [new_run(f"run_{n}", "s1", idempotency=KEY) for n in range(20)]

    accepted = await asyncio.gather(*(store.runs.accept(request) for request in requests))

    assert len({one.run.run_id for one in accepted}) == 1
    assert sum(not one.replayed for one in accepted) == 1


async def test_twenty_messages_at_once_queue_in_one_order(store: StoreBox) -> None:
    accepted = await asyncio.gather(
        *(store.runs.accept(new_run(f"run_{n}", "s1")) for n in range(20))
    )

    session = await store.directory.get_session(OWNER, "s1")
    assert sum(not one.queued for one in accepted) == 1
    assert len(session.queued_run_ids) == 19
    assert session.active_run_id not in session.queued_run_ids


async def test_odd_text_is_kept_and_harms_nothing(store: StoreBox) -> None:
    """NUL and lone surrogates cannot be stored by every database: they are replaced."""
    text = "a\x00b \ud800 c\u2028 é '; DROP TABLE runs; -- :run_id %s {0}"

    await store.runs.accept(new_run("run_1", "s1", content=text, metadata={"x": text}))

    ((_, said),) = await transcript(store, "s1")
    run = await store.runs.get_run(OWNER, "run_1")
    assert said.startswith("a")
    assert said.endswith("c\u2028 é '; DROP TABLE runs; -- :run_id %s {0}")
    assert run.state is RunState.CREATED
    await check_log(store, "run_1")
