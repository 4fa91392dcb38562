"""Runs that were tried again and again stand in the list of dead letters; others do not."""

import pytest

from domain.acceptance import Page
from domain.event import EventType
from domain.run import RunState
from tests.workflows.stage import Stage


async def letters(stage: Stage) -> list[tuple[str, str, str]]:
    found, _ = await stage.storage.dead_letters.list_letters(None, None, Page())
    return [(letter.run_id, letter.code, letter.step_id) for letter in found]


async def test_a_run_whose_provider_used_up_its_attempts_is_listed(stage: Stage) -> None:
    """What failed again and again may be driven anew once the provider is well."""
    stage.provider.controls = {"down": "[[status=500]]"}
    await stage.agent(models=("openai/down",))

    run = await stage.run("say hello")

    assert run.state is RunState.FAILED
    assert await letters(stage) == [(run.run_id, "model_unavailable", "llm-1-1")]
    kinds = await stage.kinds(run.run_id)
    assert kinds[-2:] == [EventType.RUN_DEAD_LETTERED, EventType.RUN_FAILED]


@pytest.mark.parametrize("script", ["fail bad_request", "fail auth"])
async def test_a_run_that_another_attempt_would_not_mend_is_not_listed(
    stage: Stage, script: str
) -> None:
    run = await stage.run(script)

    assert run.state is RunState.FAILED
    assert await letters(stage) == []
