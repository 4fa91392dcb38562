"""The agent of a run: named, of the session, or chosen by what is known and how agents stand."""

from typing import Any

import pytest

from domain.agent import AgentKind, Degradation
from domain.agenthealth import Health, HealthRecord
from domain.errors import AgentUnavailableError, InvalidRequestError, NotFoundError
from domain.learning import roster
from domain.learning.affording import Costs
from domain.learning.agents import AgentChooser, Picked, Wanted, luck_of
from domain.learning.books import Asker, Standing, Turns
from domain.learning.feedback import Feedback
from domain.learning.pins import Pin
from domain.routing.ladder import Ladder
from tests.fakes.clock import NOW
from tests.fakes.proxy import FakePrices
from tests.fakes.world import World
from tests.unit.domain.learning.scenes import facts


@pytest.fixture
def world() -> World:
    made = World()
    made.directory.agents.clear()
    made.add_agent("cook", description="recipes, cooking and baking bread")
    made.add_agent("tutor", description="explains mathematics and algebra")
    return made


async def pick(
    world: World,
    content: str = "help with algebra",
    providers: frozenset[str] | None = None,
    **fields: Any,
) -> Picked:
    costs = Costs(FakePrices(), Ladder({}, ("openai/gpt-x",)), providers)
    chooser = AgentChooser(world.directory, world.health, world.learning, "cook", costs)
    wanted = Wanted("run_7", "ann", "ann", content, **fields)
    return await chooser.pick(wanted)


async def test_the_agent_that_is_named_is_taken_without_a_word(world: World) -> None:
    picked = await pick(world, agent_id="cook")

    assert (picked.agent.agent_id, picked.route) == ("cook", None)
    with pytest.raises(NotFoundError):
        await pick(world, agent_id="nobody")


async def test_else_the_one_that_fits_with_all_its_scores(world: World) -> None:
    picked = await pick(world)

    assert picked.agent.agent_id == "tutor"
    assert picked.route is not None
    assert picked.route["kind"] == "agent"
    assert picked.criteria["specialty_match"] == 1.0


async def test_in_doubt_the_default_does_it(world: World) -> None:
    assert (await pick(world, "xyzzy")).agent.agent_id == "cook"


async def test_what_was_learned_counts(world: World) -> None:
    for number in range(40):
        run_id = f"run_{number}"
        world.learned.facts_of[run_id] = facts(run_id, agent_id="tutor", request="sweet things")
        await world.learning.rate("ann", Feedback(f"fb_{number}", "ann", run_id, 1.0, "ann"))

    assert (await pick(world, "sweet things")).agent.agent_id == "tutor"


async def test_how_agents_stand_counts(world: World) -> None:
    world.learned.standings = Standing(open_runs={"tutor": 100}, budget_used={"cook": 0.1})
    busy = await pick(world, "xyzzy plugh")
    world.learned.standings = Standing(budget_used={"tutor": 1.0})
    broke = await pick(world)

    assert busy.route is not None
    assert busy.route["criteria"]["tutor"]["resource_availability"] == 0.0  # type: ignore[index]
    assert broke.agent.agent_id == "cook"
    assert broke.route is not None
    assert broke.route["excluded"] == {"tutor": "its budget does not cover the run"}


async def test_where_none_can_there_is_a_sentence(world: World) -> None:
    world.learned.standings = Standing(budget_used={"tutor": 1.0, "cook": 2.0})
    with pytest.raises(AgentUnavailableError, match="within its budget"):
        await pick(world)

    world.directory.agents.clear()
    with pytest.raises(InvalidRequestError, match="POST /v1/agents"):
        await pick(world)


def test_luck_is_even_and_the_same_for_the_same_run() -> None:
    draws = [luck_of(f"run_{number}", "agent") for number in range(2000)]

    assert all(0 <= draw < 1 for draw in draws)
    assert 0.03 < sum(draw < 0.04 for draw in draws) / len(draws) < 0.05
    assert luck_of("run_1", "agent") == luck_of("run_1", "agent") != luck_of("run_1", "tier")


async def test_a_session_keeps_its_agent(world: World) -> None:
    session = world.directory.make("ann", "s")
    world.directory.sessions["ann", "s"] = session.model_copy(update={"agent_id": "cook"})

    picked = await pick(world, session_id="s")
    fresh = await pick(world, session_id="new")

    assert picked.route == {
        "kind": "agent",
        "agent_id": "cook",
        "reason": "cook is the agent of session s",
        "scores": {},
    }
    assert fresh.agent.agent_id == "tutor"


async def test_a_pin_decides_where_neither_request_nor_session_does(world: World) -> None:
    await world.pins.put_pin(Pin("ann", "cook", "ann", NOW))
    session = world.directory.make("ann", "s")
    world.directory.sessions["ann", "s"] = session.model_copy(update={"agent_id": "tutor"})

    assert (await pick(world)).route == {
        "kind": "agent",
        "agent_id": "cook",
        "reason": "cook is pinned",
        "scores": {"cook": 1.0},
    }
    assert (await pick(world, agent_id="tutor")).agent.agent_id == "tutor"
    assert (await pick(world, session_id="s")).agent.agent_id == "tutor"


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_pinned_agent_that_is_unwell_or_gone_leaves_the_choice_to_the_scores(
    world: World, is_gone: bool
) -> None:
    world.add_agent("poet", kind=AgentKind.HTTP, endpoint="http://localhost:1")
    world.health.records[None, "poet"] = HealthRecord(said=Health.UNHEALTHY, seen_at=NOW)
    await world.pins.put_pin(Pin("ann", "nobody" if is_gone else "poet", "ann", NOW))

    picked = await pick(world)

    assert picked.agent.agent_id == "tutor"
    assert picked.route is not None
    excluded = picked.route["excluded"]
    assert isinstance(excluded, dict)
    first = "nobody" if is_gone else "poet"
    assert next(iter(excluded)) == first
    assert excluded[first].startswith("it is pinned, but ")


def context(picked: Picked, agent_id: str) -> float:
    assert picked.route is not None
    return float(picked.route["criteria"][agent_id]["context_relevance"])  # type: ignore[index]


async def test_the_last_turns_of_its_session_count(world: World) -> None:
    good = facts(agent_id="cook", request="sourdough starter and rye")
    world.learned.facts_of["run_1"] = good
    await world.learning.rate("ann", Feedback("fb_1", "ann", "run_1", 1.0, "ann"))
    recent = ("my sourdough is flat",)
    world.learned.last_turns = {
        ("ann", "liked"): Turns(recent, "cook"),
        ("ann", "disliked"): Turns(recent, "cook", is_disliked=True),
    }

    fresh = context(await pick(world, session_id="new"), "cook")
    liked = context(await pick(world, session_id="liked"), "cook")
    disliked = context(await pick(world, session_id="disliked"), "cook")

    assert (fresh, liked, disliked) == (0.2, 1.0, 0.7)


async def test_whose_budgets_count_is_who_asks_and_what_for(world: World) -> None:
    await pick(world, session_id="s", goal_id="goal_1", key_id="key_1")

    assert world.learned.asked == [Asker("ann", "s", "goal_1", "key_1")]


async def test_only_an_agent_that_holds_the_required_tools_is_chosen(world: World) -> None:
    world.add_agent("clerk", description="files papers", tools=("files", "mail"))

    picked = await pick(world, tools=frozenset({"mail"}))

    assert picked.agent.agent_id == "clerk"
    assert picked.route is not None
    assert picked.route["excluded"] == {
        "cook": "it does not take mail",
        "tutor": "it does not take mail",
    }


async def test_tools_that_no_agent_holds_are_named(world: World) -> None:
    world.add_agent("clerk", tools=("files",))
    world.add_agent("poster", tools=("mail",))
    session = world.directory.make("ann", "s")
    world.directory.sessions["ann", "s"] = session.model_copy(update={"agent_id": "cook"})
    both = frozenset({"files", "mail"})
    refused: list[tuple[dict[str, Any], str]] = [
        ({"tools": both | {"fax"}}, "no agent holds fax, which the run requires"),
        ({"tools": both}, "no agent holds all of files, mail, which the run requires"),
        ({"tools": both, "agent_id": "clerk"}, "agent clerk does not hold mail"),
        ({"tools": both, "session_id": "s"}, "agent cook does not hold files, mail"),
    ]

    for fields, said in refused:
        with pytest.raises(InvalidRequestError, match=said) as error:
            await pick(world, **fields)
        assert error.value.field == "requires.tools"


async def test_the_unhealthy_are_not_chosen(world: World) -> None:
    there = {"kind": AgentKind.HTTP, "endpoint": "http://localhost:1"}
    world.add_agent("tutor", description="explains algebra", **there)
    world.health.records[None, "tutor"] = HealthRecord(said=Health.UNHEALTHY, seen_at=NOW)
    assert (await pick(world)).agent.agent_id == "cook"

    del world.directory.agents[None, "cook"]
    with pytest.raises(AgentUnavailableError, match="every agent is unhealthy"):
        await pick(world)


async def test_however_many_agents_there_are_the_best_is_found(world: World) -> None:
    for number in range(1000):
        world.add_agent(f"a{number:04}", owner="ann")
    world.add_agent("writer", description="poems and stories", tools=("text",))

    assert (await pick(world, "write poems")).agent.agent_id == "writer"
    assert (await pick(world, tools=frozenset({"text"}))).agent.agent_id == "writer"


async def test_the_pinned_and_the_default_agent_count_beyond_the_most(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roster, "MOST_AGENTS", 2)
    for agent_id in ("aa", "ab", "ac"):
        world.add_agent(agent_id, owner="ann")
    assert (await pick(world, "xyzzy")).agent.agent_id == "cook"

    await world.pins.put_pin(Pin("ann", "tutor", "ann", NOW))
    picked = await pick(world, "xyzzy")
    assert picked.route is not None
    assert picked.route["reason"] == "tutor is pinned"


async def test_one_good_rating_makes_no_generalist_of_a_specialist(world: World) -> None:
    world.add_agent("math", description="arithmetic: calculate sums and products")
    assert (await pick(world, "12*7")).agent.agent_id == "math"

    world.learned.facts_of["run_1"] = facts("run_1", agent_id="math", request="12*7")
    await world.learning.rate("ann", Feedback("fb_1", "ann", "run_1", 1.0, "ann"))

    assert (await pick(world, "hello")).agent.agent_id == "cook"
    assert (await pick(world, "13*8")).agent.agent_id == "math"


async def test_an_agent_whose_budget_pays_no_call_is_left_out(world: World) -> None:
    world.learned.standings = Standing(left={"tutor": 1})

    picked = await pick(world)

    assert picked.agent.agent_id == "cook"
    assert picked.route is not None
    assert picked.route["excluded"] == {"tutor": "its budget does not cover the run"}


async def test_an_agent_none_of_whose_models_takes_calls_is_left_out(world: World) -> None:
    world.add_agent("tutor", description="explains algebra", models=("a/b", "a/c"))
    one, both = frozenset({"a/b"}), frozenset({"a/b", "a/c"})

    world.learned.standings = Standing(open_models=one)
    assert (await pick(world)).agent.agent_id == "tutor"

    world.learned.standings = Standing(open_models=both)
    picked = await pick(world)
    assert picked.agent.agent_id == "cook"
    assert picked.route is not None
    assert picked.route["excluded"] == {"tutor": "its circuit is open"}

    static = {"static": "Ask me later."}
    world.add_agent("tutor", description="algebra", models=("a/b",), degradation=static)
    assert (await pick(world)).agent.agent_id == "tutor"


async def test_while_one_call_tries_a_half_open_circuit_its_agent_is_not_available(
    world: World,
) -> None:
    world.add_agent("tutor", description="explains algebra", models=("a/b",))
    world.learned.standings = Standing(probing_models=frozenset({"a/b"}))

    picked = await pick(world)

    assert picked.route is not None
    assert picked.route["criteria"]["tutor"]["resource_availability"] == 0.0  # type: ignore[index]


async def test_where_every_circuit_is_open_a_run_is_taken_and_waits(world: World) -> None:
    world.learned.standings = Standing(open_models=frozenset({"openai/gpt-x"}))

    assert (await pick(world)).agent.agent_id == "tutor"


OFFLINE = frozenset({"offline"})


async def test_an_agent_without_a_provider_here_is_left_to_those_that_can_run(
    world: World,
) -> None:
    world.add_agent("cook", description="recipes", models=("offline/echo",))
    world.add_agent("tutor", description="explains algebra", models=("openai/gpt-x",))

    picked = await pick(world, providers=OFFLINE)
    elsewhere = await pick(world)
    named = await pick(world, providers=OFFLINE, agent_id="tutor")

    assert picked.agent.agent_id == "cook"
    assert picked.route is not None
    assert picked.route["excluded"] == {"tutor": "no provider of its models is configured"}
    assert (elsewhere.agent.agent_id, named.agent.agent_id) == ("tutor", "tutor")


async def test_an_agent_that_can_answer_at_all_is_not_left_out(world: World) -> None:
    behind = Degradation(static="later")
    world.add_agent("tutor", description="explains algebra", degradation=behind)
    assert (await pick(world, providers=OFFLINE)).agent.agent_id == "tutor"


async def test_where_no_agent_has_a_provider_a_run_is_taken_and_says_so(world: World) -> None:
    assert (await pick(world, providers=OFFLINE)).agent.agent_id == "tutor"


def test_of_a_budget_that_stops_the_first_model_that_takes_calls_counts() -> None:
    agent = World().add_agent("math", models=("openai/gpt-x", "unpriced/x"))
    down = frozenset({"openai/gpt-x"})

    assert not Costs(FakePrices()).can_pay(agent, "", Standing(left={"math": 1}))
    assert Costs(FakePrices()).can_pay(agent, "", Standing(left={"math": 1}, open_models=down))


async def test_where_the_agent_of_a_session_is_gone_another_is_chosen(world: World) -> None:
    session = world.directory.make("ann", "s")
    world.directory.sessions["ann", "s"] = session.model_copy(update={"agent_id": "tmp"})

    picked = await pick(world, session_id="s")

    assert picked.agent.agent_id == "tutor"
    assert picked.route is not None
    assert picked.route["reason"] == (
        "tmp, the agent of session s, is gone; tutor fits the request best"
    )
    assert picked.route["agent_id"] == "tutor"
    assert picked.criteria["specialty_match"] == 1.0


async def test_a_request_that_brings_tools_is_given_to_no_external_agent(world: World) -> None:
    there = {"kind": AgentKind.HTTP, "endpoint": "http://localhost:1"}
    world.add_agent("tutor", description="explains algebra", **there)
    assert (await pick(world)).agent.agent_id == "tutor"

    picked = await pick(world, brings_tools=True)
    assert picked.agent.agent_id == "cook"
    assert picked.route is not None
    assert picked.route["excluded"] == {"tutor": "it takes no client_tools"}

    del world.directory.agents[None, "cook"]
    with pytest.raises(InvalidRequestError, match="kind http") as error:
        await pick(world, brings_tools=True)
    assert error.value.field == "client_tools"
