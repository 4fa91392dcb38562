"""Who is credited with what a run was worth, and where its session goes on."""

from domain.event import EventType
from domain.learning.feedback import Feedback
from domain.tiers import ModelTier
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN

TIERS = {
    "simple": ["openai/small"],
    "medium": ["openai/middling"],
    "complex": ["openai/large"],
}


async def test_a_rating_is_of_the_tier_that_answered_after_a_provider_failed(
    make_stage: Make,
) -> None:
    async with make_stage(tiers=TIERS) as stage:
        stage.provider.controls = {"small": "[[status=400]]", "middling": "[[say=fine]]"}
        await stage.agent(models=("tier:simple",), escalate=True)
        run = await stage.run("hi")
        learning = stage.storage.learning

        said = Feedback("fb_1", ANN.owner, run.run_id, 1.0, ANN.signature)
        await learning.rate(ANN.owner, said)

        tallies = (await learning.recall(ANN.owner)).tiers.tallies
        (mine,) = tallies.values()
        assert {tier: tally.quality for tier, tally in mine.items()} == {ModelTier.MEDIUM: 1.0}


async def test_after_two_climbs_a_session_goes_on_at_the_top_also_by_a_lower_name(
    make_stage: Make,
) -> None:
    async with make_stage(tiers=TIERS) as stage:
        half = "[[finish=length say=half]]"
        stage.provider.controls = {"small": half, "middling": half, "large": "[[say=whole]]"}
        await stage.agent(models=("tier:simple",), escalate=True)
        await stage.run("hi", session_id="s")

        second = await stage.run("hi", session_id="s")

        (kept,) = await stage.of_kind(second.run_id, EventType.ROUTE_DECIDED)
        assert kept["tier"] == "complex"
        assert kept["reason"] == "simple was asked for by name; the session has reached complex"
        asked = [entry.model for entry in stage.provider.log]
        assert asked == ["small", "middling", "large", "large"]
