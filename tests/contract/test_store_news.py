"""What is new of calls that wait side by side: named by step, until each was looked at again."""

from domain.tool import Effect, Resolution, Verdict
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import execution, open_step, start_with_tools


async def test_the_news_name_the_call_that_they_are_about(store: StoreBox) -> None:
    effects = [Effect.UNSAFE] * 3
    calls = await start_with_tools(store, "run_1", *effects)
    for index in range(3):
        await store.steps.mark_unknown(await open_step(store, "run_1", f"tool-1-{index}"), "cut")
    assert await store.steps.read_news("run_1") == []

    said = Verdict(resolution=Resolution.HAPPENED, by="ann", result="paid")
    for index in (2, 0):
        await store.runs.resolve_tool_call(None, calls[index], said)

    assert await store.steps.read_news("run_1") == ["tool-1-0", "tool-1-2"]
    await store.steps.open(execution("run_1", "tool-1-2"))
    assert await store.steps.read_news("run_1") == ["tool-1-0"]


async def test_a_run_that_nobody_knows_has_no_news(store: StoreBox) -> None:
    assert await store.steps.read_news("run_0") == []
