"""Tool hosts: what they hold while they are there, and what becomes of it when they are not."""

from dataclasses import replace

import pytest

from domain.acceptance import Page
from domain.errors import DispatchSupersededError, ForbiddenError, NotFoundError, RequestTakenError
from domain.run import RunSpec
from domain.step import AlreadyClosed, AwaitingClient, OutcomeUnknown
from domain.tool import Audience, Effect, Offline
from tests.contract.client_scenes import (
    DESK,
    LAPTOP,
    LATE_MS,
    STARTER,
    asked,
    client_tool,
    look,
    put_host,
    result,
)
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import MODEL, OWNER, asks_tool, check_run, new_run, open_step


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
