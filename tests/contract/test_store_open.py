"""Opening a step: which execution gets an attempt, and which is told something else."""

from dataclasses import replace

import pytest

from adapters.store.sessions.transcript import INLINE_MESSAGES
from adapters.store.steps.opening import POISON_OPENINGS
from domain.agent import Limits
from domain.bounds import padding_of
from domain.errors import NotFoundError, StepRefusedError
from domain.run import RunSpec
from domain.step import AlreadyClosed, Attempt, CallPlan, Finish, Older, Opened, Opening, Withheld
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import (
    DONE,
    FAILED,
    MODEL,
    OWNER,
    PLAN,
    answer,
    bill,
    capped,
    check_log,
    events,
    execution,
    must_open,
    new_run,
    open_step,
    types,
)


def likely_input(opened: Opened) -> int:
    """The tokens of a request as they are guessed: a quarter of its bytes."""
    return -(-(opened.bound.input_tokens - padding_of(opened.spec)) // 4)


async def test_what_other_calls_hold_of_a_cap_on_tokens_is_waited_for(store: StoreBox) -> None:
    spec = RunSpec(models=(MODEL,), limits=Limits(max_tokens=100))
    await store.runs.accept(new_run("run_1", spec=spec))
    await store.set("UPDATE runs SET reserved_tokens = 100")

    held = await store.steps.open(execution("run_1"), PLAN)
    await store.set("UPDATE runs SET reserved_tokens = 0")
    opened = must_open(await store.steps.open(execution("run_1"), PLAN))

    assert isinstance(held, Withheld)
    assert held.code == "budget_busy"
    assert opened.bound.output_tokens == 100


async def test_a_cap_on_tokens_that_is_used_up_opens_nothing(store: StoreBox) -> None:
    spec = RunSpec(models=(MODEL,), limits=Limits(max_tokens=100))
    await store.runs.accept(new_run("run_1", spec=spec))
    await store.set("UPDATE runs SET output_tokens = 100, reserved_tokens = 5")

    assert await refusal(store, "run_1") == "max_tokens"


async def refusal(store: StoreBox, run_id: str, step_id: str = "llm-1-1", **fields: str) -> str:
    """The reason for which an opening is refused."""
    with pytest.raises(StepRefusedError) as refused:
        await store.steps.open(execution(run_id, step_id, **fields), PLAN)
    return refused.value.reason


async def test_the_first_opening_begins_the_run(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", "s1"))

    opened = must_open(await store.steps.open(execution("run_1"), PLAN))

    run = await store.runs.get_run(OWNER, "run_1")
    assert (opened.attempt, opened.owner, opened.agent_id) == (1, OWNER, "helper")
    assert (opened.content, opened.session_id) == ("hello from run_1", "s1")
    assert opened.messages is not None
    assert [message.content for message in opened.messages] == ["hello from run_1"]
    assert opened.spec.models == (MODEL,)
    assert (run.state, run.started_at) == ("RUNNING", store.clock.now)
    assert await types(store, "run_1") == [
        "user_input",
        "run_started",
        "agent_invoke_started",
        "llm_call_started",
    ]
    await check_log(store, "run_1")


async def test_an_unknown_run_opens_nothing(store: StoreBox) -> None:
    with pytest.raises(NotFoundError):
        await store.steps.open(execution("run_0"), PLAN)


async def test_the_same_token_gets_the_same_attempt(store: StoreBox) -> None:
    """A lost reply to a commit costs nothing: the same execution asks again and is the same."""
    await store.runs.accept(new_run("run_1"))
    who = execution("run_1")

    first = must_open(await store.steps.open(who, PLAN))
    again = must_open(await store.steps.open(who, PLAN))

    assert again == replace(first, usage=again.usage)
    assert (await types(store, "run_1")).count("llm_call_started") == 1


async def test_each_execution_gets_the_next_attempt(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    numbers = [(await open_step(store, "run_1")).number for _ in range(4)]

    assert numbers == [1, 2, 3, 4]


async def test_an_older_execution_is_told_so_unless_it_is_wanted(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    older = execution("run_1")
    await open_step(store, "run_1")

    told = await store.steps.open(older, PLAN)
    wanted = await store.steps.open(older, PLAN, wanted=True)

    assert told == Older(attempt=1)
    assert must_open(wanted).attempt == 2


async def test_clocks_of_two_executions_of_a_run_are_not_compared(store: StoreBox) -> None:
    """A reset run may be carried on by a server whose clock is behind."""
    await store.runs.accept(new_run("run_1"))
    await open_step(store, "run_1", scheduled_at_us=10**15)

    opened = await open_step(store, "run_1", temporal_run_id="temporal-2", scheduled_at_us=5)

    assert opened.number == 2


async def test_only_the_latest_execution_opens_steps(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await open_step(store, "run_1", temporal_run_id="temporal-1")
    await open_step(store, "run_1", temporal_run_id="temporal-2")

    assert await refusal(store, "run_1", temporal_run_id="temporal-1") == "superseded"
    assert await refusal(store, "run_1", "llm-2-1", temporal_run_id="temporal-1") == "superseded"
    assert (await open_step(store, "run_1", temporal_run_id="temporal-2")).number == 3


async def test_a_closed_step_returns_its_result(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    attempt = await open_step(store, "run_1")
    await store.steps.close(attempt, answer(result={"calls": [], "é": 1}))
    before = await events(store, "run_1")

    again = await store.steps.open(execution("run_1", temporal_run_id="temporal-2"), PLAN)

    assert again == AlreadyClosed({"calls": [], "é": 1})
    assert await events(store, "run_1") == before


async def test_a_run_that_ended_opens_nothing(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.steps.close(await open_step(store, "run_1"), answer())
    await store.steps.finalize("run_1", DONE)

    assert await refusal(store, "run_1") == "run_terminal"
    assert await refusal(store, "run_1", "llm-2-1") == "run_terminal"


async def test_a_run_whose_cancel_was_asked_opens_nothing(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await open_step(store, "run_1")
    await store.runs.ask_cancel(OWNER, "run_1", "enough")

    assert await refusal(store, "run_1") == "cancel_asked"


async def test_a_new_attempt_voids_the_text_of_the_last(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    first = await open_step(store, "run_1")
    await store.steps.append_delta(first, "half", 1)

    second = await open_step(store, "run_1")

    *_, reset, started = await events(store, "run_1")
    assert reset["type"] == "agent_stream_reset"
    assert reset["data"] == {"step": "llm-1-1", "attempt": second.number}
    assert started["type"] == "llm_call_started"
    await check_log(store, "run_1")


async def test_a_new_attempt_that_follows_no_text_voids_nothing(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await open_step(store, "run_1")
    await open_step(store, "run_1")

    assert "agent_stream_reset" not in await types(store, "run_1")


async def test_the_next_model_of_the_chain_voids_the_text_of_the_first(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    first = await open_step(store, "run_1")
    await store.steps.append_delta(first, "half", 1)
    await store.steps.fail(first, bill(error={"code": "model_timeout", "message": "slow"}))
    plan = CallPlan(
        model="offline/other",
        fallback_from=MODEL,
        fallback_reason="model_timeout",
        fallback_step="llm-1-1",
    )

    await store.steps.open(execution("run_1", "llm-1-2"), plan)
    await store.steps.open(execution("run_1", "llm-1-2"), plan)

    log = await events(store, "run_1")
    (told,) = [event["data"] for event in log if event["type"] == "model_fallback"]
    assert told == {"from": MODEL, "to": "offline/other", "reason": "model_timeout"}
    assert [event["type"] for event in log].count("agent_stream_reset") == 1


async def test_an_attempt_that_died_is_billed_at_what_was_held(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    dead = await open_step(store, "run_1")
    await store.steps.append_delta(dead, "12345678", 1)

    opened = must_open(await store.steps.open(execution("run_1"), PLAN))

    row = await store.one("SELECT * FROM usage")
    (told,) = [e["data"] for e in await events(store, "run_1") if e["type"] == "llm_call_done"]
    assert (row["attempt"], bool(row["estimated"])) == (1, True)
    assert (row["error_code"], row["output_tokens"]) == ("worker_lost", 2)
    assert row["input_tokens"] == likely_input(opened) > 0
    assert row["cost_pico"] == opened.bound.input_tokens * 1000 + 4096 * 2000
    assert (told["attempt"], told["estimated"], told["error"]["code"]) == (1, True, "worker_lost")
    run = await store.runs.get_run(OWNER, "run_1")
    assert run.usage.model_calls == 1
    assert run.usage.output_tokens == 2
    assert opened.attempt == 2


async def test_an_attempt_that_died_leaves_a_cap_on_tokens_what_nobody_saw(
    store: StoreBox,
) -> None:
    spec = RunSpec(models=(MODEL,), limits=Limits(max_tokens=100))
    await store.runs.accept(new_run("run_1", spec=spec))
    dead = await open_step(store, "run_1")
    await store.steps.append_delta(dead, "12345678", 1)

    opened = must_open(await store.steps.open(execution("run_1"), PLAN))

    used = (await store.runs.get_run(OWNER, "run_1")).usage
    assert (used.output_tokens, used.input_tokens) == (2, likely_input(opened))
    assert opened.bound.output_tokens == 100 - used.input_tokens - used.output_tokens > 50


async def test_a_dead_attempt_of_an_unpriced_model_makes_the_cost_unknown(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await store.steps.open(execution("run_1"), CallPlan(model=MODEL))
    await store.steps.open(execution("run_1"), CallPlan(model=MODEL))

    assert (await store.runs.get_run(OWNER, "run_1")).usage.cost_usd is None


async def open_until_refused(store: StoreBox, run_id: str, streams: tuple[int, ...] = ()) -> int:
    """Open a step over and over; attempt n streams `streams[n]` characters. Count the openings."""
    for count in range(40):
        try:
            attempt = await open_step(store, run_id)
        except StepRefusedError as error:
            assert error.reason == "poison_step"  # noqa: PT017 - the count is what is tested
            return count
        if count < len(streams) and streams[count]:
            await store.steps.append_delta(attempt, "x" * streams[count], 1)
    return 40


async def test_a_step_opened_ten_times_in_silence_is_poison(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    assert await open_until_refused(store, "run_1") == POISON_OPENINGS
    assert await refusal(store, "run_1") == "poison_step"


async def test_the_same_text_each_time_is_no_progress(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    count = await open_until_refused(store, "run_1", (5,) * 40)

    assert count == POISON_OPENINGS + 1


async def test_getting_further_each_time_is_never_poison(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    assert await open_until_refused(store, "run_1", tuple(range(1, 41))) == 40


async def test_failures_and_drains_are_outcomes_and_never_poison(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    for number in range(1, 15):
        await store.steps.release(await open_step(store, "run_1"))
        assert await store.steps.fail(await open_step(store, "run_1")) == number

    assert (await open_step(store, "run_1")).number == 29


async def test_poison_ends_the_run_with_a_dead_letter_first(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))
    await open_until_refused(store, "run_1")

    finish = Finish(FAILED.state, "poison_step", "it kills workers", dead_letter_step="llm-1-1")
    await store.steps.finalize("run_1", finish)

    log = await events(store, "run_1")
    assert [event["type"] for event in log[-2:]] == ["run_dead_lettered", "run_failed"]
    assert log[-2]["data"] == {"code": "poison_step", "step": "llm-1-1"}
    usage = (await store.runs.get_run(OWNER, "run_1")).usage
    assert usage.model_calls == POISON_OPENINGS
    await check_log(store, "run_1")


async def test_the_money_cap_refuses_the_next_call(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1", spec=capped("0.0001")))
    await store.steps.close(
        await open_step(store, "run_1"), answer(bill=bill(cost_pico=50_000_000), events=())
    )
    second = await open_step(store, "run_1", "llm-2-1")
    rest = bill(cost_pico=50_000_000)
    await store.steps.close(second, answer(bill=rest, events=(), delta_index=2))

    assert await refusal(store, "run_1", "llm-3-1") == "max_cost_usd"
    other = await store.steps.open(execution("run_1", "invoke-1"))
    assert isinstance(other, Opened)


async def test_the_money_cap_refuses_a_call_whose_input_alone_would_pass_it(
    store: StoreBox,
) -> None:
    await store.runs.accept(new_run("run_1", spec=capped("0.000001")))
    dear = CallPlan("openai/dear", input_rate=10**9, output_rate=10**9)

    with pytest.raises(StepRefusedError) as caught:
        await store.steps.open(execution("run_1"), dear)

    assert caught.value.reason == "max_cost_usd"


async def test_a_call_without_a_known_price_is_refused_under_a_money_cap_only(
    store: StoreBox,
) -> None:
    unpriced = CallPlan("openai/new", input_rate=None, output_rate=None)
    await store.runs.accept(new_run("run_1", spec=capped("5")))
    await store.runs.accept(new_run("run_2"))

    with pytest.raises(StepRefusedError) as caught:
        await store.steps.open(execution("run_1"), unpriced)

    assert caught.value.reason == "price_unknown"
    assert isinstance(await store.steps.open(execution("run_2"), unpriced), Opened)


async def test_a_long_transcript_is_read_apart(store: StoreBox) -> None:
    for number in range(INLINE_MESSAGES):
        await store.runs.accept(new_run(f"run_{number}", "s1"))
        opening = await store.steps.open(execution(f"run_{number}"), PLAN)
        assert isinstance(opening, Opened)
        assert opening.messages is not None
        await store.steps.finalize(f"run_{number}", DONE)
    await store.runs.accept(new_run("run_last", "s1"))

    opening = await store.steps.open(execution("run_last"), PLAN)

    assert must_open(opening).messages is None
    assert len(await store.steps.read_transcript(OWNER, "s1")) == INLINE_MESSAGES + 1


async def test_an_external_agent_has_no_model_and_no_bill(store: StoreBox) -> None:
    await store.runs.accept(new_run("run_1"))

    first: Opening = await store.steps.open(execution("run_1", "invoke-1"))
    await store.steps.append_delta(Attempt("run_1", "invoke-1", 1), "half", 1)
    await store.steps.open(execution("run_1", "invoke-1"))

    assert must_open(first).messages is None
    assert await types(store, "run_1") == [
        "user_input",
        "run_started",
        "agent_invoke_started",
        "agent_stream_delta",
        "agent_stream_reset",
    ]
    assert await store.all("SELECT * FROM usage") == []
