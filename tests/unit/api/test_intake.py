"""Taking work in, choosing who does it, and keys: the pure parts behind the API."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.agent import Agent, AgentKind, Degradation, Limits
from domain.auth import (
    LOCAL,
    check_key,
    digest_of,
    is_key,
    mint_key,
    principal_of,
    sees_every_owner,
)
from domain.errors import (
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UnauthorizedError,
)
from domain.intake import Intake, IntakeSettings, InvokeTool, StartRun
from domain.principal import ApiKey, Scope
from domain.run import RunState
from domain.snapshot import Defaults, check_agent, lower, snapshot
from domain.tiers import Choice, FixedTiers, ModelTier, Question
from tests.fakes.clock import NOW
from tests.fakes.models import FakeModels
from tests.fakes.tools import CALCULATOR
from tests.fakes.world import World

SETTINGS = IntakeSettings(Limits(max_turns=50), ("offline/echo",), max_open_runs=10)
DEFAULTS = Defaults(Limits(max_turns=50), ("offline/echo",))


def _agent(**fields: object) -> Agent:
    values: dict[str, object] = {"kind": AgentKind.LLM, "name": "A", **fields}
    return Agent.model_validate(
        {"agent_id": "a", "owner": None, "created_at": NOW, "updated_at": NOW, **values}
    )


def _intake(world: World) -> Intake:
    return Intake(world.ports().intake, SETTINGS)


async def test_without_a_way_to_go_on_behind_the_answer_the_engine_is_told_at_once(
    world: World,
) -> None:
    accepted = await _intake(world).start_run(LOCAL, StartRun("hi"))

    assert world.gateway.started == [accepted.run.run_id]


async def test_an_engine_that_is_down_never_fails_what_was_accepted(world: World) -> None:
    world.gateway.mode = "down"
    intake = _intake(world)

    accepted = await intake.start_run(LOCAL, StartRun("hi"))
    cancelled = await intake.cancel(LOCAL, accepted.run.run_id, None)

    assert accepted.run.state is RunState.CREATED
    assert cancelled.cancel_asked


async def test_the_reader_is_told_before_anything_is_accepted(world: World) -> None:
    seen: list[tuple[str, int]] = []

    accepted = await _intake(world).start_run(
        LOCAL, StartRun("hi"), lambda new: seen.append((new.run_id, len(world.runs.accepted)))
    )

    assert seen == [(accepted.run.run_id, 0)]


async def test_a_tools_timeout_is_lowered_and_never_raised(world: World) -> None:
    intake = _intake(world)

    short = await intake.invoke_tool(LOCAL, InvokeTool("calculator", {}, timeout_seconds=1))
    long = await intake.invoke_tool(LOCAL, InvokeTool("calculator", {}, timeout_seconds=99))

    assert short.spec.tools[0].timeout_seconds == 1
    assert long.spec.tools[0].timeout_seconds == CALCULATOR.timeout_seconds


async def test_a_tool_or_parent_that_is_not_there_is_not_found(world: World) -> None:
    intake = _intake(world)

    with pytest.raises(NotFoundError, match="teleport"):
        await intake.invoke_tool(LOCAL, InvokeTool("teleport", {}))
    with pytest.raises(NotFoundError, match="run_x"):
        await intake.invoke_tool(LOCAL, InvokeTool("calculator", {}, parent_run_id="run_x"))


async def test_an_agent_whose_tool_is_gone_takes_no_run(world: World) -> None:
    world.add_agent("old", tools=("teleport",))

    with pytest.raises(InvalidRequestError, match="teleport"):
        await _intake(world).start_run(LOCAL, StartRun("hi", agent_id="old"))


def test_a_snapshot_fills_in_what_the_agent_leaves_open() -> None:
    spec = snapshot(
        _agent(tools=("calculator",), limits=Limits(max_tokens=10)),
        {"calculator": CALCULATOR},
        DEFAULTS,
        asked=Limits(max_turns=60, max_tokens=5),
        context={"a": 1},
    )

    assert spec.models == ("offline/echo",)
    assert spec.tools == (CALCULATOR,)
    assert spec.limits == Limits(max_turns=50, max_tokens=5)
    assert spec.context == {"a": 1}


def test_an_external_agent_takes_neither_models_nor_tools_along() -> None:
    agent = _agent(kind=AgentKind.HTTP, endpoint="http://localhost:1", tools=("calculator",))

    spec = snapshot(agent, {}, DEFAULTS, asked=Limits(), context={})

    assert (spec.models, spec.tools, spec.endpoint) == ((), (), "http://localhost:1")


def test_a_provider_without_credentials_here_is_fine_and_an_unknown_one_is_not() -> None:
    check_agent(_agent(models=("openai/gpt-x",)), {}, FakeModels())

    with pytest.raises(InvalidRequestError, match="nobody"):
        check_agent(_agent(models=("nobody/x",)), {}, FakeModels())


@pytest.mark.parametrize(
    "fields",
    [
        {"models": ("offline/nonexistent",)},
        {"degradation": Degradation(models=("offline/nonexistent",))},
    ],
)
def test_an_offline_model_that_is_not_there_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="there are offline/echo") as raised:
        check_agent(_agent(**fields), {}, FakeModels())

    assert raised.value.field == "models"


def test_a_provider_that_lists_no_model_and_is_not_set_up_here_is_known() -> None:
    check_agent(_agent(models=("ollama/llama3",)), {}, FakeModels())

    with pytest.raises(InvalidRequestError, match="no provider nobody; there are offline, ollama"):
        check_agent(_agent(models=("nobody/llama3",)), {}, FakeModels())


def test_an_agent_of_old_that_names_a_tool_twice_has_it_once() -> None:
    """Providers refuse a request that has two tools of one name."""
    agent = _agent(tools=("calculator",) * 2)

    check_agent(agent, {"calculator": CALCULATOR}, FakeModels())

    spec = snapshot(agent, {"calculator": CALCULATOR}, DEFAULTS, asked=Limits(), context={})
    assert spec.tools == (CALCULATOR,)


@given(
    st.integers(1, 100) | st.none(),
    st.integers(1, 100) | st.none(),
    st.sampled_from([None, "0.5", "2", "10.25"]),
    st.sampled_from([None, "0.50", "3"]),
)
def test_a_cap_is_the_lower_of_the_two(
    mine: int | None, asked: int | None, money: str | None, asked_money: str | None
) -> None:
    both = lower(
        Limits(max_turns=mine, max_cost_usd=money),
        Limits(max_turns=asked, max_cost_usd=asked_money),
    )

    turns = [value for value in (mine, asked) if value is not None]
    costs = [float(value) for value in (money, asked_money) if value is not None]
    assert both.max_turns == (min(turns) if turns else None)
    assert (float(both.max_cost_usd) if both.max_cost_usd else None) == (
        min(costs) if costs else None
    )


def test_a_key_is_made_of_256_random_bits() -> None:
    minted = mint_key(bytes(range(32)))

    assert is_key(minted.secret)
    assert minted.digest == digest_of(minted.secret)
    assert minted.secret.startswith(minted.prefix)
    assert len(minted.prefix) == 12
    with pytest.raises(ValueError, match="32 random bytes"):
        mint_key(b"short")


@given(st.binary(min_size=32, max_size=40), st.binary(min_size=32, max_size=40))
def test_different_bytes_make_different_keys(one: bytes, other: bytes) -> None:
    same = one[:32] == other[:32]

    assert (mint_key(one).digest == mint_key(other).digest) == same


def _key(**fields: int | None) -> ApiKey:
    return ApiKey.model_validate(
        {
            "key_id": "key_1",
            "owner": "ann",
            "name": "ci",
            "prefix": mint_key(b"k" * 32).prefix,
            "scopes": (Scope.READ,),
            "created_at": NOW,
            "expires_at": None,
            "revoked_at": None,
            **fields,
        }
    )


def test_a_key_is_usable_until_it_is_revoked_or_expires() -> None:
    secret = mint_key(b"k" * 32).secret

    assert check_key(_key(expires_at=NOW + 1), secret, NOW).key_id == "key_1"
    with pytest.raises(UnauthorizedError, match="expired"):
        check_key(_key(expires_at=NOW), secret, NOW)
    with pytest.raises(UnauthorizedError, match="revoked"):
        check_key(_key(revoked_at=NOW), secret, NOW)
    with pytest.raises(UnauthorizedError, match="not known"):
        check_key(None, secret, NOW)
    with pytest.raises(UnauthorizedError, match="not known"):
        check_key(_key(), mint_key(b"x" * 32).secret, NOW)


def test_a_keys_owner_name_and_scopes_are_who_asks() -> None:
    who = principal_of(_key())

    assert (who.owner, who.name, who.key_id) == ("ann", "ci", "key_1")
    who.require(Scope.READ)
    with pytest.raises(ForbiddenError, match="invoke"):
        who.require(Scope.INVOKE)


def test_only_the_operator_sees_every_owner() -> None:
    assert sees_every_owner(LOCAL)
    assert not sees_every_owner(principal_of(_key()))


class _Asked(FixedTiers):
    """Tiers that note what they were asked."""

    def __init__(self) -> None:
        super().__init__({}, ("offline/echo",))
        self.questions: list[Question] = []

    async def choose(self, tier: ModelTier | None, question: Question) -> Choice:
        self.questions.append(question)
        return await super().choose(tier, question)


@pytest.mark.parametrize("priority", [1, 2, 3, 5])
async def test_a_choice_of_models_knows_whether_work_is_urgent_and_money_capped(
    world: World, priority: int
) -> None:
    agent = _agent(models=("auto",), owner=LOCAL.owner)
    world.directory.agents[LOCAL.owner, "a"] = agent
    asked = _Asked()
    intake = Intake(replace(world.ports().intake, router=asked), SETTINGS)
    capped = Limits(max_cost_usd="1")

    await intake.prepare(LOCAL, StartRun("hi", agent_id="a", priority=priority))
    await intake.prepare(LOCAL, StartRun("hi", agent_id="a", priority=priority, limits=capped))

    assert [each.may_explore for each in asked.questions] == [priority > 2] * 2
    assert [each.is_capped for each in asked.questions] == [False, True]
