"""Model calls as steps: the chain, retries that belong to the step, and what reaches a provider."""

import pytest

from adapters.store.steps.stepbook import SqlStepBook
from domain.agent import Limits
from domain.event import EventType
from domain.run import RunState, WaitingOn
from tests.rig.tools import TARGETS
from tests.workflows.conftest import Make
from tests.workflows.stage import ANN, Stage

CHAIN = ("openai/first", "openai/second", "offline/script")


async def code_of(stage: Stage, content: str, agent_id: str = "helper") -> str | None:
    run = await stage.run(content, agent_id)
    assert run.state is RunState.FAILED
    assert run.error is not None
    return run.error.code


async def test_the_next_model_answers_when_one_fails(stage: Stage) -> None:
    stage.provider.controls = {"first": "[[status=400]]", "second": "[[status=401]]"}
    await stage.agent(models=CHAIN)

    run = await stage.run("say third time lucky")

    assert run.output is not None
    assert run.output["content"] == "[offline] third time lucky"
    fallbacks = await stage.of_kind(run.run_id, EventType.MODEL_FALLBACK)
    assert [(f["from"], f["to"], f["reason"]) for f in fallbacks] == [
        ("openai/first", "openai/second", "model_bad_request"),
        ("openai/second", "offline/script", "model_auth"),
    ]
    assert len(stage.provider.log) == 2, "a refused request is not made again"


async def test_a_model_that_is_down_is_tried_three_times_and_counted_in_its_row(
    stage: Stage,
) -> None:
    stage.provider.controls = {"first": "[[status=500]]"}
    await stage.agent(models=("openai/first", "offline/script"))

    run = await stage.run("say hello")

    assert run.state is RunState.DONE
    assert [entry.model for entry in stage.provider.log] == ["first"] * 3
    failed = await stage.step(run.run_id, "llm-1-1")
    assert (failed["failures"], failed["attempt"]) == (3, 3)
    answered = await stage.step(run.run_id, "llm-1-2")
    assert (answered["failures"], answered["attempt"]) == (0, 1)


async def test_text_of_a_model_that_failed_is_void(stage: Stage) -> None:
    await stage.agent(models=("openai/first", "offline/script"))
    stage.provider.controls = {"first": "[[tokens=9 half_close_after=4]]"}

    run = await stage.run("say the whole answer")

    events = await stage.events(run.run_id)
    resets = [e["data"] for e in events if e["type"] == "agent_stream_reset"]
    assert resets == [
        {"step": "llm-1-1", "attempt": 2},
        {"step": "llm-1-1", "attempt": 3},
        {"step": "llm-1-2", "attempt": 1},
    ]
    last = [
        e["data"]["text"]
        for e in events
        if e["data"].get("step") == "llm-1-2" and "text" in e["data"]
    ]
    assert "".join(last) == "[offline] the whole answer"


async def test_every_model_failing_ends_the_run_with_the_last_reason(stage: Stage) -> None:
    stage.provider.controls = {"first": "[[status=400]]", "second": "[[status=403]]"}
    await stage.agent(models=CHAIN[:2])

    assert await code_of(stage, "hello") == "model_auth"


async def test_the_last_failure_of_the_policy_is_final(stage: Stage) -> None:
    assert await code_of(stage, "fail unavailable") == "model_unavailable"

    step = await stage.step(stage.started[-1], "llm-1-1")
    assert (step["failures"], step["attempt"]) == (3, 3)


async def test_two_failures_and_an_answer_are_three_bills_and_one_answer(stage: Stage) -> None:
    # Not all that each could have used counts towards the cap.
    limits = Limits(max_tokens=400)
    content = "say hello tokens=3\nfail unavailable after=2 times=2 id=twice"
    run = await stage.run(content, limits=limits)

    assert run.state is RunState.DONE
    bills = await stage.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    assert [(b["attempt"], b["estimated"]) for b in bills] == [(1, True), (2, True), (3, False)]
    assert run.usage.model_calls == 3
    assert run.usage.turns == 1
    assert run.usage.output_tokens == sum(b["completion_tokens"] for b in bills)


async def test_a_wait_is_honoured_when_there_is_no_other_model(stage: Stage) -> None:
    await stage.agent(models=("openai/first",))

    run = await stage.run("[[status=429 retry_after_ms=250 times=1]] hello")

    assert run.state is RunState.DONE
    first, second = stage.provider.log
    assert first.ended_ns is not None
    assert (second.at_ns - first.ended_ns) / 1e9 >= 0.25


async def test_a_long_wait_is_told(stage: Stage) -> None:
    await stage.agent(models=("openai/first",))

    run = await stage.start("[[status=429 retry_after=60 times=1]] hello")
    await stage.seen(run.run_id, EventType.RUN_WAITING)

    (waits,) = await stage.of_kind(run.run_id, EventType.RUN_WAITING)
    assert waits["waiting_on"] == "model"
    assert (await stage.get(run.run_id)).waiting_on is WaitingOn.MODEL
    assert len(stage.provider.log) == 1
    await stage.intake.cancel(ANN, run.run_id, None)
    assert (await stage.ended(run.run_id)).state is RunState.CANCELLED


async def test_a_long_wait_goes_to_the_next_model(stage: Stage) -> None:
    await stage.agent(models=("openai/first", "offline/script"))
    stage.provider.controls = {"first": "[[status=429 retry_after=60]]"}

    run = await stage.run("say hello")

    assert run.state is RunState.DONE
    assert len(stage.provider.log) == 1


async def test_a_model_that_asks_for_tools_that_are_not_there_is_told_twice(stage: Stage) -> None:
    assert await code_of(stage, "loop 9 call no_such_tool {}") == "malformed_reply"

    calls = await stage.rows("SELECT status FROM tool_calls")
    assert [call["status"] for call in calls] == ["rejected"] * 3


async def test_a_refused_tool_is_mended_by_the_next_turn(stage: Stage) -> None:
    run = await stage.run("call no_such_tool {}\n---\nsay sorry")

    assert run.state is RunState.DONE
    assert run.usage.tool_calls == 1


async def test_a_poison_step_ends_the_run_as_dead_letter(make_stage: Make) -> None:
    """Its attempts end in silence again and again, as if each had killed its worker."""
    async with make_stage(tools=TARGETS) as stage:
        run = await stage.start("stall")

        for attempt in range(1, 11):
            await stage.until(
                f"attempt {attempt}",
                lambda: stage.rows("SELECT 1 FROM steps WHERE attempt = :n", n=attempt),  # noqa: B023 - awaited here
            )
            step = await stage.step(run.run_id, "llm-1-1")
            assert await stage.gateway.fail_attempt(bytes(step["task_token"]))
        ended = await stage.ended(run.run_id)

        assert ended.state is RunState.FAILED
        assert ended.error is not None
        assert ended.error.code == "poison_step"
        kinds = await stage.kinds(run.run_id)
        assert kinds[-2:] == ["run_dead_lettered", "run_failed"]


async def test_an_attempt_that_gets_further_is_not_poison(make_stage: Make) -> None:
    """Losing a worker often is no fault of a step that streams more each time."""
    async with make_stage() as stage:
        await stage.agent(models=("openai/slow",))
        stage.provider.controls = {"slow": "[[tokens=1 stall_after=1]]"}
        run = await stage.start("hello")

        for attempt in range(1, 13):
            await stage.until(
                f"text of attempt {attempt} beyond that of earlier ones",
                lambda: stage.rows(
                    "SELECT 1 FROM steps WHERE attempt = :n AND streamed_chars > furthest_chars",
                    n=attempt,  # noqa: B023 - awaited before the next round
                ),
            )
            tokens = attempt + 1
            marks = (
                "[[say=finally]]" if attempt == 12 else f"[[tokens={tokens} stall_after={tokens}]]"
            )
            stage.provider.controls = {"slow": marks}
            step = await stage.step(run.run_id, "llm-1-1")
            assert await stage.gateway.fail_attempt(bytes(step["task_token"]))
        ended = await stage.ended(run.run_id)

        assert ended.state is RunState.DONE


async def test_a_model_name_without_a_provider_ends_the_run_and_bills_nothing(
    stage: Stage,
) -> None:
    await stage.agent(models=("gpt-4",))

    assert await code_of(stage, "hello") == "model_not_configured"

    step = await stage.step(stage.started[-1], "llm-1-1")
    assert (step["failures"], step["attempt"]) == (1, 1)
    [bill] = await stage.of_kind(stage.started[-1], EventType.LLM_CALL_DONE)
    assert (bill["estimated"], bill["total_tokens"], bill["cost_usd"]) == (False, 0, "0")


async def test_an_unforeseen_failure_before_the_request_is_counted_and_bills_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: str) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    monkeypatch.setattr(stage.can.models, "resolve", broken)
    run = await stage.run("hello")

    assert run.error is not None
    assert run.error.code == "internal_error"
    assert run.error.message == "ZeroDivisionError: nobody foresaw this"
    assert "Traceback" in caplog.text
    step = await stage.step(run.run_id, "llm-1-1")
    assert (step["failures"], step["attempt"]) == (3, 3)
    assert (run.usage.input_tokens, run.usage.output_tokens) == (0, 0)
    bills = await stage.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    assert [bill["estimated"] for bill in bills] == [False] * 3


async def test_an_unforeseen_failure_before_a_step_is_opened_ends_its_run_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    assert stage.worker is not None
    monkeypatch.setattr(SqlStepBook, "open", broken)

    assert await code_of(stage, "hello") == "internal_error"


async def test_an_unforeseen_failure_after_a_tool_ran_is_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("nobody foresaw this")

    await stage.agent(tools=["calculator"])
    monkeypatch.setattr(SqlStepBook, "close_tool", broken)

    content = 'call calculator {"operation": "add", "a": 1, "b": 1}'
    assert await code_of(stage, content) == "internal_error"

    step = await stage.step(stage.started[-1], "tool-1-0")
    assert step["failures"] == step["attempt"]


async def test_an_answer_that_the_providers_own_limit_cut_says_so(stage: Stage) -> None:
    await stage.agent(models=("openai/short",))
    stage.provider.controls = {"short": "[[finish=length say=hal]]"}

    run = await stage.run("hello")

    assert run.state is RunState.DONE
    assert run.output is not None
    assert run.output["stop_reason"] == "length"
    [done] = await stage.of_kind(run.run_id, EventType.RUN_DONE)
    assert done["stop_reason"] == "length"
