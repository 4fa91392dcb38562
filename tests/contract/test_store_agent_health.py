"""The health of external agents on record: judged, counted, and kept across restarts."""

import asyncio
from dataclasses import replace

import pytest

from adapters.store.registry.agenthealth import SqlAgentHealth
from domain.acceptance import Page
from domain.agent import Agent, AgentKind
from domain.agenthealth import Callee, CheckTarget, Circuit, Health, HealthRules, Report
from domain.errors import CircuitOpenError, NotFoundError
from domain.principal import SHARED_OWNER, ApiKey, Scope
from tests.contract.store_engines import StoreBox

ANN = "ann"
URL = "http://agents.test:8000"
CALLEE = Callee(ANN, "helper", URL)
WELL = Report(version="2.1", capabilities=("echo", "sums"))
LOST = Report(error="gone", is_there=False)
T = 1_800_000_000_000


def agent(agent_id: str = "helper", owner: str | None = ANN, **fields: object) -> Agent:
    values: dict[str, object] = {"kind": AgentKind.HTTP, "endpoint": URL, **fields}
    return Agent.model_validate(
        {
            "agent_id": agent_id,
            "owner": owner,
            "name": agent_id,
            "created_at": T,
            "updated_at": T,
            **values,
        }
    )


class Still:
    """A clock that stands."""

    def __init__(self) -> None:
        self.now = T

    def now_ms(self) -> int:
        return self.now


class Scene:
    """A book with a clock of its own on a store."""

    def __init__(self, store: StoreBox) -> None:
        self.store = store
        self.clock = Still()
        self.book = self.again()

    def again(self) -> SqlAgentHealth:
        """Return the book as another process has it."""
        return SqlAgentHealth(self.store.engine, self.clock, HealthRules(failures=2))

    async def put(self, *agents: Agent) -> None:
        for one in agents:
            await self.store.directory.put_agent(one, replace=True)

    async def status(self, agent_id: str = "helper", owner: str | None = ANN) -> Health:
        return (await self.again().health([(owner, agent_id)]))[owner, agent_id].status

    async def circuit(self, agent_id: str = "helper", owner: str | None = ANN) -> Circuit:
        return (await self.again().health([(owner, agent_id)]))[owner, agent_id].circuit


@pytest.fixture
async def scene(store: StoreBox) -> Scene:
    made = Scene(store)
    await made.put(agent())
    return made


async def test_health_is_told_of_external_agents_only(scene: Scene) -> None:
    await scene.put(agent("ours", kind=AgentKind.LLM, endpoint=None), agent("shared", None))

    found = await scene.book.health([(ANN, "helper"), (ANN, "ours"), (None, "shared"), (ANN, "x")])

    assert set(found) == {(ANN, "helper"), (None, "shared")}
    assert found[ANN, "helper"].status is Health.UNKNOWN
    assert await scene.book.health([]) == {}


async def test_a_check_is_kept_and_seen_by_every_process(scene: Scene) -> None:
    await scene.book.checked(CheckTarget(ANN, "helper", URL), WELL)

    found = (await scene.again().health([(ANN, "helper")]))[ANN, "helper"]

    assert (found.status, found.circuit) == (Health.HEALTHY, Circuit.CLOSED)
    assert (found.record.version, found.record.capabilities) == ("2.1", ("echo", "sums"))
    assert (found.record.seen_at, found.record.checked_at) == (T, T)


async def test_an_agent_not_seen_for_90_s_is_out_of_selection_and_comes_back(scene: Scene) -> None:
    target = CheckTarget(ANN, "helper", URL)
    await scene.book.checked(target, WELL)
    scene.clock.now += 90_001
    await scene.book.checked(target, LOST)
    assert await scene.again().unhealthy(ANN) == {"helper"}

    await scene.book.checked(target, WELL)

    assert await scene.again().unhealthy(ANN) == frozenset()


async def test_a_heartbeat_keeps_an_agent_and_is_for_external_ones_alone(scene: Scene) -> None:
    await scene.put(agent("ours", kind=AgentKind.LLM, endpoint=None))
    beaten = await scene.book.beat(ANN, "helper", WELL)

    assert beaten.status is Health.HEALTHY
    for owner, agent_id in ((ANN, "ours"), (ANN, "nobody"), (None, "helper"), ("bob", "helper")):
        with pytest.raises(NotFoundError):
            await scene.book.beat(owner, agent_id, WELL)


async def test_owners_see_their_own_agent_in_place_of_the_shared_one(scene: Scene) -> None:
    await scene.put(agent(owner=None))
    shared = CheckTarget(None, "helper", URL)
    await scene.book.checked(shared, Report(error="it says that it is down"))

    assert await scene.book.unhealthy(ANN) == frozenset()
    assert await scene.book.unhealthy("bob") == {"helper"}
    assert await scene.status(owner=None) is Health.UNHEALTHY


async def test_the_circuit_survives_a_restart_and_lets_one_call_try(scene: Scene) -> None:
    for _ in range(2):
        await scene.book.admit(CALLEE)
        await scene.book.failed(CALLEE, "it answered 500")
    with pytest.raises(CircuitOpenError, match="it answered 500"):
        await scene.again().admit(CALLEE)
    assert await scene.book.unhealthy(ANN) == {"helper"}

    scene.clock.now += 30_000
    tries = await asyncio.gather(
        *(scene.again().admit(CALLEE) for _ in range(20)), return_exceptions=True
    )

    assert [one for one in tries if one is None] == [None]
    assert await scene.circuit() is Circuit.HALF_OPEN
    await scene.book.answered(CALLEE)
    assert await scene.circuit() is Circuit.CLOSED
    assert await scene.book.unhealthy(ANN) == frozenset()


async def test_a_call_that_says_nothing_gives_its_try_back(scene: Scene) -> None:
    for _ in range(2):
        await scene.book.failed(CALLEE, "x")
    scene.clock.now += 30_000
    await scene.book.admit(CALLEE)

    await scene.book.released(CALLEE)

    await scene.book.admit(CALLEE)
    await scene.book.released(replace(CALLEE, agent_id="nobody"))


async def test_failures_at_once_are_all_counted(scene: Scene) -> None:
    book = SqlAgentHealth(scene.store.engine, scene.clock, HealthRules(failures=21))
    await asyncio.gather(*(book.failed(CALLEE, "x") for _ in range(20)))
    assert await scene.circuit() is Circuit.CLOSED

    await book.failed(CALLEE, "x")

    row = await scene.store.one("SELECT failures, open_until FROM agent_health")
    assert (row["failures"], row["open_until"]) == (21, T + 30_000)


async def test_the_shared_agent_is_who_a_run_calls_where_its_owner_has_none(scene: Scene) -> None:
    await scene.put(agent("shared", None))
    for _ in range(2):
        await scene.book.failed(Callee("bob", "shared", URL), "x")

    assert await scene.circuit("shared", None) is Circuit.OPEN


async def test_what_happens_where_an_agent_is_no_more_says_nothing_of_it(scene: Scene) -> None:
    old, gone = replace(CALLEE, endpoint="http://old.test"), replace(CALLEE, agent_id="nobody")

    for callee in (old, gone):
        await scene.book.admit(callee)
        for _ in range(5):
            await scene.book.failed(callee, "x")
        await scene.book.answered(callee)
    await scene.book.checked(CheckTarget(ANN, "helper", "http://old.test"), WELL)
    await scene.book.checked(CheckTarget(ANN, "nobody", URL), WELL)

    assert await scene.store.all("SELECT * FROM agent_health") == []


async def test_answers_in_a_row_are_one_write(scene: Scene) -> None:
    await scene.book.answered(CALLEE)
    scene.clock.now += 5_000
    await scene.book.answered(CALLEE)

    row = await scene.store.one("SELECT seen_at FROM agent_health")
    assert row["seen_at"] == T


async def test_an_agent_that_moves_or_goes_is_forgotten_and_one_that_changes_is_not(
    scene: Scene,
) -> None:
    await scene.book.beat(ANN, "helper", WELL)
    await scene.put(agent(name="New name"))
    assert await scene.status() is Health.HEALTHY

    await scene.put(agent(endpoint="http://elsewhere.test"))
    assert await scene.status() is Health.UNKNOWN

    await scene.book.beat(ANN, "helper", WELL)
    await scene.store.directory.delete_agent(ANN, "helper")
    assert await scene.store.all("SELECT * FROM agent_health") == []


async def test_active_external_agents_are_checked(scene: Scene) -> None:
    tricky = agent("ours", kind=AgentKind.LLM, endpoint=None, metadata={"x": '"kind":"http"'})
    named = agent("paused", status="paused")
    await scene.put(tricky, named, agent("shared", None))

    assert await scene.book.targets() == [
        CheckTarget(ANN, "helper", URL),
        CheckTarget(None, "shared", URL),
    ]


def token(key_id: str, owner: str = ANN, agent_id: str = "helper") -> ApiKey:
    return ApiKey(
        key_id=key_id,
        owner=owner,
        name=f"agent {agent_id}",
        prefix="orch_x",
        scopes=(),
        created_at=T,
        expires_at=None,
        revoked_at=None,
        agent_id=agent_id,
    )


async def test_a_token_takes_the_place_of_the_one_before_and_ends_with_its_agent(
    store: StoreBox,
) -> None:
    await store.directory.put_agent(agent(), replace=True)
    assert await store.keys.issue_token(token("key_1"), "d1") == ()
    assert await store.keys.issue_token(token("key_2"), "d2") == ("key_1",)
    await store.keys.issue_token(token("key_3", "bob"), "d3")
    await store.keys.issue_token(token("key_4", agent_id="other"), "d4")

    first, second = await store.keys.find_key("d1"), await store.keys.find_key("d2")
    assert first is not None
    assert first.revoked_at == T
    assert second == token("key_2")

    await store.directory.delete_agent(ANN, "helper")

    listed, _ = await store.keys.list_keys(None, Page())
    assert {key.key_id for key in listed if key.revoked_at is None} == {"key_3", "key_4"}


async def test_tokens_of_agents_do_not_turn_authentication_on(store: StoreBox) -> None:
    await store.keys.issue_token(token("key_1", SHARED_OWNER), "d1")
    assert not await store.keys.has_keys()

    person = token("key_2").model_copy(update={"agent_id": None, "scopes": (Scope.ADMIN,)})
    await store.keys.add_key(person, "d2")

    assert await store.keys.has_keys()
