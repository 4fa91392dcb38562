"""Taking work in, choosing who does it, and keys: the pure parts behind the API."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.agent import Agent, AgentKind, Limits
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
    ModelNotConfiguredError,
    NotFoundError,
    UnauthorizedError,
)
from domain.intake import Intake, IntakeSettings, InvokeTool, StartRun
from domain.matching import Card, choose, score, words
from domain.principal import ApiKey, Scope
from domain.run import RunState
from domain.snapshot import Defaults, check_agent, lower, snapshot
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


def test_a_provider_that_lists_no_model_but_answers_is_known() -> None:
    class Generous(FakeModels):
        def resolve(self, model: str) -> Any:
            if model.startswith("ollama/"):
                return object()
            raise ModelNotConfiguredError("unknown")

    check_agent(_agent(models=("ollama/llama3",)), {}, Generous())


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


CARDS = [
    Card("cook", "Cook recipes for dinner, baking bread and cakes"),
    Card("tutor", "Tutor explains mathematics: algebra, geometry"),
    Card("guide", "Guide plans travel, hotels and flights"),
]


@pytest.mark.parametrize(
    ("request_", "agent_id"),
    [
        ("I want to bake a cake and some breads", "cook"),
        ("Please explain ALGEBRA to me", "tutor"),
        ("find me a hotel", "guide"),
    ],
)
def test_the_best_match_wins(request_: str, agent_id: str) -> None:
    choice = choose(request_, CARDS)

    assert choice is not None
    assert choice.agent_id == agent_id
    assert choice.scores[agent_id] == max(choice.scores.values())
    assert agent_id in choice.reason


def test_without_a_match_the_default_is_taken_or_else_the_first() -> None:
    chosen = choose("xyzzy", CARDS, "guide")
    unknown = choose("xyzzy", CARDS, "nobody")

    assert chosen is not None
    assert unknown is not None
    assert chosen.agent_id == "guide"
    assert unknown.agent_id == "cook"
    assert "no description matches" in chosen.reason


def test_one_agent_is_the_only_choice_and_none_is_no_choice() -> None:
    only = choose("xyzzy", CARDS[:1])

    assert only is not None
    assert "only agent" in only.reason
    assert choose("xyzzy", []) is None


def test_a_word_that_every_card_holds_says_less_than_a_rare_one() -> None:
    cards = [Card("a", "data data"), Card("b", "data graphs")]

    scores = score("data graphs", cards)

    assert scores["b"] > scores["a"]


def test_cards_without_words_score_nothing() -> None:
    assert score("data", [Card("a", ""), Card("b", "")]) == {"a": 0.0, "b": 0.0}


def test_words_are_folded_and_stop_words_dropped() -> None:
    assert words("The Cakes, AND glass of 3 cats' IDs_x!") == [
        "cake",
        "glass",
        "3",
        "cat",
        "ids",
        "x",
    ]


def test_only_the_best_scores_are_put_on_record() -> None:
    cards = [Card(f"agent{number}", "cake " * number) for number in range(30)]

    choice = choose("cake", cards)

    assert choice is not None
    assert len(choice.scores) == 10
    assert set(choice.as_route()) == {"agent_id", "reason", "scores"}


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
