"""Tiers in runs: decided as one is accepted, gone up from, kept by sessions, for children too."""

from domain.event import EventType
from domain.run import RunState
from tests.workflows.conftest import Make
from tests.workflows.family import answer_of, child_of, spawning, then_say

TIERS = {"simple": ["openai/small"], "complex": ["openai/large", "openai/spare"]}
HALF = "[[finish=length say=half]]"


async def test_a_weak_answer_of_a_tier_goes_up_and_its_session_stays_there(
    make_stage: Make,
) -> None:
    async with make_stage(tiers=TIERS) as stage:
        stage.provider.controls = {"small": HALF, "large": "[[say=whole]]"}
        await stage.agent(models=("tier:simple",), escalate=True)
        first = await stage.run("a hard question", session_id="s")
        await stage.agent(models=("auto",))

        second = await stage.run("hi", session_id="s")

        assert first.output is not None
        assert first.output["content"] == "whole"
        chosen, up = await stage.of_kind(first.run_id, EventType.ROUTE_DECIDED)
        assert (chosen["kind"], chosen["tier"]) == ("tier", "simple")
        assert (up["kind"], up["escalated_from"]) == ("escalation", "openai/small")
        (kept,) = await stage.of_kind(second.run_id, EventType.ROUTE_DECIDED)
        assert kept["tier"] == "complex"
        assert [entry.model for entry in stage.provider.log] == ["small", "large", "large"]


async def test_a_provider_that_fails_is_fallen_back_from_within_the_tier(
    make_stage: Make,
) -> None:
    async with make_stage(tiers=TIERS) as stage:
        stage.provider.controls = {"large": "[[status=400]]", "spare": "[[say=fine]]"}
        await stage.agent(models=("tier:complex",))

        run = await stage.run("hello")

        assert run.state is RunState.DONE
        assert [entry.model for entry in stage.provider.log] == ["large", "spare"]


async def test_a_child_has_its_models_chosen_too(make_stage: Make) -> None:
    async with make_stage(tiers={"simple": ["offline/script"]}) as stage:
        await stage.agent(tools=("spawn_run",))
        await stage.agent("target", models=("tier:simple",))
        run = await stage.start(then_say(spawning("say seven", "target")))

        said = await answer_of(stage, run)

        child = await child_of(stage, run)
        (chosen,) = await stage.of_kind(child.run_id, EventType.ROUTE_DECIDED)
        assert "seven" in said
        assert chosen["tier"] == "simple"
