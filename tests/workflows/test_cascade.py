"""A weak answer goes up: put aside and billed, not in the transcript, kept if none is better."""

from typing import Any

from domain.event import EventType
from domain.learning.feedback import Feedback
from domain.routing.grading import Graded
from domain.run import Run, RunState
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage

LADDER = ("openai/small", "openai/large")


async def climb(stage: Stage, models: tuple[str, ...] = LADDER) -> Run:
    await stage.agent(models=models, escalate=True)
    return await stage.run("a hard question")


async def test_a_weak_answer_goes_to_the_next_tier_and_does_not_count(stage: Stage) -> None:
    stage.provider.controls = {"small": "[[finish=length say=half]]", "large": "[[say=whole]]"}

    run = await climb(stage)

    assert run.state is RunState.DONE
    assert run.output is not None
    assert run.output["content"] == "whole"
    assert (run.usage.turns, run.usage.model_calls) == (1, 2)
    said = await stage.storage.steps.read_transcript(run.owner, run.session_id or "")
    assert [(m.role, m.content) for m in said] == [
        ("user", "a hard question"),
        ("assistant", "whole"),
    ]
    (decided,) = await stage.of_kind(run.run_id, EventType.ROUTE_DECIDED)
    assert (decided["kind"], decided["escalated_from"]) == ("escalation", "openai/small")
    assert "length" in decided["reason"]
    bills = await stage.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    assert [bill["error"] and bill["error"]["code"] for bill in bills] == ["weak_answer", None]
    assert await stage.of_kind(run.run_id, EventType.MODEL_FALLBACK) == []


async def test_the_better_model_reads_the_weak_answer_and_what_is_wrong(stage: Stage) -> None:
    stage.provider.controls = {"small": "[[finish=length say=half]]", "large": "[[say=whole]]"}

    await climb(stage)

    assert [entry.messages for entry in stage.provider.log] == [1, 3]


async def test_a_good_answer_stays_where_it_is(stage: Stage) -> None:
    stage.provider.controls = {"small": "[[say=fine]]"}

    run = await climb(stage)

    assert run.output is not None
    assert run.output["content"] == "fine"
    assert [entry.model for entry in stage.provider.log] == ["small"]


async def test_the_top_of_the_ladder_is_not_looked_at(stage: Stage) -> None:
    stage.provider.controls = {
        "small": "[[finish=length say=half]]",
        "large": "[[finish=length say=half]]",
    }

    run = await climb(stage)

    assert run.state is RunState.DONE
    assert run.output is not None
    assert run.output["content"] == "half"


async def test_the_weak_answer_counts_after_all_when_nobody_has_a_better_one(
    stage: Stage,
) -> None:
    stage.provider.controls = {"small": "[[finish=length say=half]]", "large": "[[status=400]]"}

    run = await climb(stage)

    assert run.state is RunState.DONE
    assert run.output is not None
    assert (run.output["content"], run.output["degraded"]) == ("half", "kept")
    assert run.usage.turns == 1


async def test_an_agent_that_does_not_escalate_takes_any_answer(stage: Stage) -> None:
    stage.provider.controls = {"small": "[[finish=length say=half]]"}
    await stage.agent(models=LADDER)

    run = await stage.run("a hard question")

    assert run.output is not None
    assert run.output["content"] == "half"


DOUBT = "[[say='I am not sure about that.']]".replace("'", '"')
TIERS = {"complex": ["openai/small"], "critical": ["openai/large"]}


def prices(large: float) -> dict[str, Any]:
    """Prices of a small model and of one that costs so many times as much."""
    return {
        f"openai/{name}": {"input_per_mtok_usd": usd, "output_per_mtok_usd": usd}
        for name, usd in (("small", 1), ("large", large))
    }


async def climb_tiers(stage: Stage) -> tuple[Run, list[dict[str, Any]]]:
    """Return a run that doubts itself in its tier, and what was decided after it was accepted."""
    stage.provider.controls = {"small": DOUBT, "large": "[[say=whole]]"}
    await stage.agent(models=("tier:complex",), escalate=True)
    run = await stage.run("what is it?")
    _, *decided = await stage.of_kind(run.run_id, EventType.ROUTE_DECIDED)
    return run, decided


async def rate(stage: Stage, run: Run, score: float) -> Graded:
    """Rate a run and return how the look did on its class."""
    learning = stage.storage.learning
    await learning.rate(ANN.owner, Feedback("fb_1", ANN.owner, run.run_id, score, ANN.signature))
    return (await learning.recall(ANN.owner)).verifier.graded("question")


async def test_a_flawed_answer_goes_up_where_the_next_tier_is_worth_it(make_stage: Make) -> None:
    async with make_stage(tiers=TIERS, prices=prices(large=2)) as stage:
        run, (up,) = await climb_tiers(stage)

        assert run.output is not None
        assert run.output["content"] == "whole"
        assert (up["kind"], up["tier"]) == ("escalation", "critical")
        assert up["escalated_from"] == "openai/small"
        assert up["scores"]["gain"] > up["scores"]["price"] == 0.3
        assert await rate(stage, run, 1.0) == Graded()


async def test_a_flawed_answer_stays_where_the_next_tier_costs_too_much(make_stage: Make) -> None:
    async with make_stage(tiers=TIERS, prices=prices(large=50)) as stage:
        run, (stays,) = await climb_tiers(stage)

        assert run.state is RunState.DONE
        assert run.output is not None
        assert run.output["content"] == "I am not sure about that."
        assert [entry.model for entry in stage.provider.log] == ["small"]
        assert (stays["kind"], stays["tier"]) == ("escalation", "complex")
        assert "not sure" in stays["reason"]
        assert stays["scores"]["gain"] < stays["scores"]["price"] == 7.5
        assert "escalated_from" not in stays
        assert await rate(stage, run, 1.0) == Graded(good=1)
