"""Toolbox: one call, executed once, in the loop or in a process alike; see `domain.ports`."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.tools.decorator import FunctionTool, tool
from adapters.tools.loading import load_tools
from adapters.tools.registry import ToolRegistry
from domain.errors import SetupError, ToolFailedError, TransientError
from domain.ports import Toolbox
from tests.unit.adapters.tools import samples
from tests.unit.adapters.tools.calls import call, invocation


@tool(name="fail")
async def fail_in_the_loop(how: str) -> None:
    """Fail in a way that is named."""
    if how == "declared":
        raise ToolFailedError("nothing was booked")
    if how == "transient":
        raise TransientError("the line is busy")
    raise KeyError(how)


@tool(name="produce")
async def produce_in_the_loop(size: int) -> str:
    """Return a long text."""
    return "é" * size


@tool(name="produce", blocking=False)
def produce_at_once(size: int) -> str:
    """Return a long text."""
    return "é" * size


@tool(name="hang")
async def hang_in_the_loop(port: int) -> None:
    """Wait for ever."""
    del port
    await asyncio.Event().wait()


@tool(name="unwritable")
async def unwritable_in_the_loop() -> object:
    """Return what JSON cannot hold."""
    return object()


IN_THE_LOOP = [fail_in_the_loop, produce_in_the_loop, hang_in_the_loop, unwritable_in_the_loop]
IN_A_PROCESS = [samples.fail, samples.produce, samples.hang, samples.unwritable]


@pytest.fixture(params=[IN_THE_LOOP, IN_A_PROCESS], ids=["loop", "process"])
async def toolbox(request: pytest.FixtureRequest) -> AsyncIterator[ToolRegistry]:
    registry = ToolRegistry(request.param, max_result_bytes=1000)
    yield registry
    await registry.aclose()


async def test_specs_are_sorted_by_name(toolbox: Toolbox) -> None:
    assert [spec.name for spec in toolbox.specs()] == ["fail", "hang", "produce", "unwritable"]


async def test_result_is_text_that_the_model_may_read(toolbox: ToolRegistry) -> None:
    outcome = await call(toolbox, "produce", size=3)

    assert (outcome.ok, outcome.content, outcome.error_code) == (True, "ééé", None)


async def test_result_past_the_limit_is_cut_and_says_so(toolbox: ToolRegistry) -> None:
    outcome = await call(toolbox, "produce", size=10_000)

    assert outcome.ok
    assert len(outcome.content.encode()) < 1200
    assert outcome.content.endswith("[cut: result_too_large, 20000 bytes; the limit is 1000]")


@pytest.mark.parametrize("args", [{}, {"size": "3"}, {"size": 3, "more": 1}, {"size": None}])
async def test_bad_arguments_are_an_outcome(toolbox: ToolRegistry, args: dict[str, object]) -> None:
    outcome = await toolbox.run(invocation("produce", args))

    assert (outcome.ok, outcome.error_code) == (False, "invalid_arguments")
    assert "nothing was done" in outcome.content


async def test_declared_failure_is_an_outcome(toolbox: ToolRegistry) -> None:
    outcome = await call(toolbox, "fail", how="declared")

    assert outcome.model_dump() == {
        "ok": False,
        "content": "nothing was booked",
        "error_code": "tool_error",
    }


async def test_unknown_tool_is_an_outcome_that_names_the_known(toolbox: ToolRegistry) -> None:
    outcome = await call(toolbox, "rm_rf")

    assert (outcome.ok, outcome.error_code) == (False, "unknown_tool")
    assert "fail, hang, produce, unwritable" in outcome.content


async def test_transient_failure_rises(toolbox: ToolRegistry) -> None:
    with pytest.raises(TransientError, match="the line is busy"):
        await call(toolbox, "fail", how="transient")


async def test_undeclared_failure_rises_and_names_itself(toolbox: ToolRegistry) -> None:
    with pytest.raises(Exception, match="surprise") as caught:
        await call(toolbox, "fail", how="surprise")

    assert not isinstance(caught.value, TransientError | ToolFailedError | TimeoutError)
    assert str(caught.value) == "tool fail raised KeyError: 'surprise'"


async def test_tool_is_cut_at_its_timeout(toolbox: ToolRegistry) -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as sink:
        args = {"port": sink.sockets[0].getsockname()[1]}

        with pytest.raises(TimeoutError):
            await toolbox.run(invocation("hang", args, timeout_seconds=0.2))


async def test_result_that_is_not_json_is_an_outcome(toolbox: ToolRegistry) -> None:
    outcome = await call(toolbox, "unwritable")

    assert (outcome.ok, outcome.error_code) == (False, "unusable_result")


async def test_calls_of_one_toolbox_may_overlap(toolbox: ToolRegistry) -> None:
    sizes = range(4)

    outcomes = await asyncio.gather(*(call(toolbox, "produce", size=size) for size in sizes))

    assert [outcome.content for outcome in outcomes] == ["é" * size for size in sizes]


async def test_plain_function_may_run_in_the_loop_when_it_is_quick() -> None:
    assert (await call(ToolRegistry([produce_at_once]), "produce", size=1)).content == "é"


def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(SetupError, match="two tools are named produce"):
        ToolRegistry([produce_in_the_loop, produce_at_once])


def test_blocking_tool_that_no_process_could_import_is_refused() -> None:
    def local() -> int:
        """Return one."""
        return 1

    made: FunctionTool = tool(local)
    with pytest.raises(SetupError, match="top level of an importable module"):
        ToolRegistry([made])


async def test_example_tools_work_as_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tools that the documentation shows; the second books once per key."""
    examples = Path("examples").resolve()
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    tools = load_tools(["custom_tool:word_score", "custom_tool:book"], examples)
    registry = ToolRegistry(tools)

    try:
        score = await call(registry, "word_score", word="Abc!")
        first = await call(registry, "book", room="101", nights=2)
        again = await call(registry, "book", room="101", nights=2)
        wrong = await call(registry, "book", room="999", nights=2)
    finally:
        await registry.aclose()

    assert score.content == "6"
    assert json.loads(first.content) == {"booked": "101", "nights": 2, "already_there": False}
    assert json.loads(again.content)["already_there"] is True
    assert wrong.content == "there is no room 999: choose one of 101, 102, 103"
    assert len(list((tmp_path / "bookings").iterdir())) == 1
