"""Agents, sessions and transcripts: who sees what, and what is busy."""

from typing import Any

import pytest

from domain.acceptance import Page
from domain.agent import Agent, AgentKind, Limits
from domain.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    SessionBusyError,
)
from domain.session import OnBusy, Session
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    CANCELLED,
    DONE,
    OWNER,
    answer,
    new_run,
    open_step,
    transcript,
)


def agent(agent_id: str, owner: str | None = OWNER, **fields: Any) -> Agent:
    made = Agent(
        agent_id=agent_id,
        owner=owner,
        kind=AgentKind.LLM,
        name=agent_id.title(),
        models=("offline/echo",),
        tools=("calculator",),
        limits=Limits(max_turns=3, max_cost_usd="0.5"),
        metadata={"a": ["é", 1]},
        created_at=10,
        updated_at=10,
    )
    return made.model_copy(update=fields)


def session(session_id: str, owner: str = OWNER, **fields: Any) -> Session:
    made = Session(
        session_id=session_id,
        owner=owner,
        agent_id="helper",
        on_busy=OnBusy.ENQUEUE,
        message_count=0,
        token_count=0,
        active_run_id=None,
        queued_run_ids=(),
        created_at=10,
        metadata={"a": "é"},
    )
    return made.model_copy(update=fields)


async def agent_ids(store: StoreBox, owner: str | None, limit: int = 100) -> list[str]:
    found: list[str] = []
    page = Page(limit)
    while True:
        agents, cursor = await store.directory.list_agents(owner, page)
        found += [f"{one.owner or '*'}/{one.agent_id}" for one in agents]
        if cursor is None:
            return found
        page = Page(limit, cursor)


async def test_an_agent_comes_back_as_it_went(store: StoreBox) -> None:
    put = await store.directory.put_agent(agent("helper"), replace=False)

    assert put == agent("helper")
    assert await store.directory.get_agent(OWNER, "helper") == agent("helper")


async def test_an_id_is_taken_once_per_owner(store: StoreBox) -> None:
    await store.directory.put_agent(agent("helper"), replace=False)

    with pytest.raises(ConflictError):
        await store.directory.put_agent(agent("helper", name="Other"), replace=False)
    await store.directory.put_agent(agent("helper", "bob"), replace=False)
    await store.directory.put_agent(agent("helper", None), replace=False)

    assert (await store.directory.get_agent(OWNER, "helper")).name == "Helper"


async def test_a_replaced_agent_keeps_the_time_it_was_made(store: StoreBox) -> None:
    await store.directory.put_agent(agent("helper"), replace=True)
    changed = agent("helper", name="New", created_at=99, updated_at=99, tools=())

    put = await store.directory.put_agent(changed, replace=True)

    assert put == changed.model_copy(update={"created_at": 10})
    assert await store.directory.get_agent(OWNER, "helper") == put


async def test_a_shared_agent_is_seen_by_all_unless_they_have_their_own(store: StoreBox) -> None:
    await store.directory.put_agent(agent("helper", None, name="Shared"), replace=False)
    await store.directory.put_agent(agent("helper", OWNER, name="Mine"), replace=False)
    await store.directory.put_agent(agent("secret", "bob"), replace=False)

    async def name(owner: str | None, agent_id: str) -> str:
        return (await store.directory.get_agent(owner, agent_id)).name

    assert await name(OWNER, "helper") == "Mine"
    assert await name("bob", "helper") == "Shared"
    assert await name(None, "helper") == "Shared"
    assert await name(None, "secret") == "Secret"
    for owner, agent_id in ((OWNER, "secret"), (OWNER, "nobody"), (None, "nobody")):
        with pytest.raises(NotFoundError):
            await store.directory.get_agent(owner, agent_id)


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_agents_are_listed_by_id_without_those_that_are_hidden(
    store: StoreBox, limit: int
) -> None:
    for owner, agent_id in ((None, "c"), (None, "a"), (OWNER, "b"), (OWNER, "c"), ("bob", "d")):
        await store.directory.put_agent(agent(agent_id, owner), replace=False)

    assert await agent_ids(store, OWNER, limit) == ["*/a", "ann/b", "ann/c"]
    assert await agent_ids(store, "bob", limit) == ["*/a", "*/c", "bob/d"]
    assert await agent_ids(store, None, limit) == ["*/a", "ann/b", "*/c", "ann/c", "bob/d"]


async def test_an_owner_deletes_its_own_agents_only(store: StoreBox) -> None:
    await store.directory.put_agent(agent("shared", None), replace=False)
    await store.directory.put_agent(agent("helper"), replace=False)

    for owner, agent_id in (("bob", "helper"), (OWNER, "shared"), ("", "shared"), (None, "x")):
        with pytest.raises(NotFoundError):
            await store.directory.delete_agent(owner, agent_id)
    await store.directory.delete_agent(OWNER, "helper")
    await store.directory.delete_agent(None, "shared")

    assert await agent_ids(store, None) == []


async def test_a_session_comes_back_as_it_was_made(store: StoreBox) -> None:
    made, replayed = await store.directory.create_session(session("s1"))

    assert (made, replayed) == (session("s1"), False)
    assert await store.directory.get_session(OWNER, "s1") == made
    with pytest.raises(ConflictError):
        await store.directory.create_session(session("s1"))
    await store.directory.create_session(session("s1", "bob"))


async def test_a_session_of_another_owner_is_not_found(store: StoreBox) -> None:
    await store.directory.create_session(session("s1"))
    directory = store.directory

    for reading in (
        directory.get_session("bob", "s1"),
        directory.update_session("bob", "s1", {}),
        directory.delete_session("bob", "s1"),
        directory.list_messages("bob", "s1", Page()),
        directory.clear_messages("bob", "s1"),
    ):
        with pytest.raises(NotFoundError):
            await reading
    assert (await directory.get_session(None, "s1")).owner == OWNER


async def test_sessions_are_listed_newest_first_with_their_queues(store: StoreBox) -> None:
    await store.directory.create_session(session("s0"))
    for run_id, session_id in (("run_1", "s1"), ("run_2", "s1"), ("run_3", "s1"), ("run_4", "s2")):
        await store.runs.accept(new_run(run_id, session_id))
    await store.runs.accept(new_run("run_5", "s1", owner="bob"))
    await store.steps.finalize("run_2", CANCELLED)

    mine, _ = await store.directory.list_sessions(OWNER, Page())
    everyones, _ = await store.directory.list_sessions(None, Page())
    first, cursor = await store.directory.list_sessions(OWNER, Page(2))
    rest, end = await store.directory.list_sessions(OWNER, Page(2, cursor)) if cursor else ((), "")

    assert [(one.session_id, one.active_run_id, one.queued_run_ids) for one in mine] == [
        ("s2", "run_4", ()),
        ("s1", "run_1", ("run_3",)),
        ("s0", None, ()),
    ]
    assert [one.owner for one in everyones] == ["bob", OWNER, OWNER, OWNER]
    assert [*first, *rest] == mine
    assert end is None
    assert await store.directory.get_session(OWNER, "s1") == mine[1]


async def test_a_session_is_changed_field_by_field(store: StoreBox) -> None:
    await store.directory.create_session(session("s1"))

    changes = {"on_busy": OnBusy.REJECT, "metadata": {"b": 2}, "agent_id": None}
    changed = await store.directory.update_session(OWNER, "s1", changes)
    same = await store.directory.update_session(OWNER, "s1", {})

    assert changed == same == session("s1").model_copy(update=changes)
    with pytest.raises(InvalidRequestError, match="active_run_id"):
        await store.directory.update_session(OWNER, "s1", {"active_run_id": "run_1"})


async def test_a_busy_session_can_be_neither_cleared_nor_deleted(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.runs.accept(new_run("run_2", "s1"))

    for blocked in ("run_1", "run_2"):
        with pytest.raises(SessionBusyError, match=blocked):
            await store.directory.clear_messages(OWNER, "s1")
        with pytest.raises(SessionBusyError, match=blocked):
            await store.directory.delete_session(OWNER, "s1")
        await store.steps.finalize(blocked, DONE)

    assert await store.directory.clear_messages(OWNER, "s1") == 2


async def test_a_cleared_session_begins_anew(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.steps.close(await open_step(store, "run_1"), answer("hello"))
    await store.steps.finalize("run_1", DONE)

    gone = await store.directory.clear_messages(OWNER, "s1")
    empty = await store.directory.get_session(OWNER, "s1")
    await store.runs.accept(new_run("run_2", "s1"))

    assert (gone, empty.message_count, empty.token_count) == (2, 0, 0)
    assert await transcript(store, "s1") == [("user", "hello from run_2")]
    assert (await store.runs.get_run(OWNER, "run_1")).state == "DONE"


async def test_a_deleted_session_leaves_its_runs(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.steps.finalize("run_1", DONE)

    await store.directory.delete_session(OWNER, "s1")

    assert (await store.runs.get_run(OWNER, "run_1")).session_id == "s1"
    assert await store.all("SELECT * FROM messages") == []
    with pytest.raises(NotFoundError):
        await store.directory.get_session(OWNER, "s1")
    assert not (await store.runs.accept(new_run("run_2", "s1"))).queued


async def walk(store: StoreBox, limit: int, *, newest_first: bool) -> list[tuple[str, int | None]]:
    found: list[tuple[str, int | None]] = []
    page = Page(limit)
    while True:
        messages, cursor = await store.directory.list_messages(
            OWNER, "s1", page, newest_first=newest_first
        )
        found += [(message.content, message.seq) for message in messages]
        assert len(messages) <= limit
        if cursor is None:
            return found
        page = Page(limit, cursor)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 100])
async def test_a_transcript_is_read_in_order_or_backwards(store: StoreBox, limit: int) -> None:
    """Messages that wait for their place come after those that have one."""
    await store.runs.accept(new_run("run_1", "s1"))
    await store.steps.close(await open_step(store, "run_1"), answer("hello"))
    for number in (2, 3, 4):
        await store.runs.accept(new_run(f"run_{number}", "s1"))

    expected = [
        ("hello from run_1", 1),
        ("hello", 2),
        ("hello from run_2", None),
        ("hello from run_3", None),
        ("hello from run_4", None),
    ]
    assert await walk(store, limit, newest_first=False) == expected
    assert await walk(store, limit, newest_first=True) == expected[::-1]


async def test_a_message_shows_who_said_it(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))
    await store.steps.close(await open_step(store, "run_1"), answer("hello"))

    (asked, said), _ = await store.directory.list_messages(OWNER, "s1", Page())

    assert (asked.role, asked.run_id, asked.message_id) == ("user", "run_1", "msg_run_1")
    assert (said.role, said.agent_id, said.tokens) == ("assistant", "helper", 20)
    stats = await store.directory.get_session(OWNER, "s1")
    assert stats.token_count == asked.tokens + said.tokens


@pytest.mark.parametrize("cursor", ["x", "WyJvdGhlciIsMSwibTEiXQ", "WyJwbGFjZWQiLCIxIiwibTEiXQ"])
async def test_a_malformed_cursor_of_a_transcript_is_refused(store: StoreBox, cursor: str) -> None:
    await store.directory.create_session(session("s1"))

    with pytest.raises(InvalidRequestError):
        await store.directory.list_messages(OWNER, "s1", Page(2, cursor))
