"""A weak answer goes up: put aside and billed, not in the transcript, kept if none is better."""

from domain.event import EventType
from domain.run import Run, RunState
from tests.workflows.stage import Stage

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
