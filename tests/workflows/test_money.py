"""What a run does where money or models lack: it asks, degrades, waits, or goes on elsewhere."""

import asyncio

from domain.agent import Degradation, Limits
from domain.budget import Budget, BudgetScope, OnExhausted, Period
from domain.event import EventType
from domain.money import to_usd
from domain.principal import LOCAL_OWNER
from domain.run import Run, RunState
from tests.workflows.stage import ANN, Stage

CHAIN = ("openai/first", "offline/script")


async def price(stage: Stage, model: str = "openai/first") -> None:
    sql = "INSERT INTO prices VALUES (:model, '1000', '1000', '1000', 'test', 1)"
    await stage.change(sql, model=model)


async def put_budget(stage: Stage, limit: str, action: OnExhausted) -> Budget:
    made = Budget(
        budget_id="budget_1",
        owner=LOCAL_OWNER,
        scope=BudgetScope.AGENT,
        scope_id="helper",
        limit_usd=limit,
        period=Period.NONE,
        on_exhausted=action,
        created_at=1,
        updated_at=1,
    )
    return await stage.storage.budgets.put_budget(made)


async def asked(stage: Stage, limit: str = "0.2") -> Run:
    await price(stage)
    await stage.agent(models=("openai/first",))
    await put_budget(stage, limit, OnExhausted.ASK)
    run = await stage.start("hello")
    await stage.seen(run.run_id, EventType.RUN_WAITING)
    return run


async def test_a_run_waits_for_money_and_goes_on_when_a_person_raises_the_budget(
    stage: Stage,
) -> None:
    run = await asked(stage)
    waiting = await stage.get(run.run_id)
    (question,) = await stage.of_kind(run.run_id, EventType.APPROVAL_REQUIRED)

    assert stage.provider.log == []
    await stage.decide(question["approval_id"], approved=True)
    done = await stage.ended(run.run_id)

    assert waiting.waiting_on == "budget"
    assert done.state is RunState.DONE
    assert len(stage.provider.log) == 1
    budget = await stage.storage.budgets.get_budget(LOCAL_OWNER, "budget_1")
    assert budget.reserved_usd == "0"
    assert budget.spent_usd == done.usage.cost_usd


async def test_a_run_whose_money_is_refused_fails_and_asks_no_model(stage: Stage) -> None:
    run = await asked(stage)
    (question,) = await stage.of_kind(run.run_id, EventType.APPROVAL_REQUIRED)

    await stage.decide(question["approval_id"], approved=False)
    done = await stage.ended(run.run_id)

    assert (done.state, done.error and done.error.code) == (RunState.FAILED, "budget_exhausted")
    assert stage.provider.log == []


async def test_a_budget_that_is_changed_wakes_the_run(stage: Stage) -> None:
    run = await asked(stage)

    _, waiting = await stage.storage.budgets.change_budget(
        LOCAL_OWNER, "budget_1", {"limit_usd": "50"}
    )
    for run_id in waiting:
        await stage.gateway.wake(run_id)
    done = await stage.ended(run.run_id)

    assert list(waiting) == [run.run_id]
    assert done.state is RunState.DONE


async def test_a_budget_that_stops_fails_the_run_at_once(stage: Stage) -> None:
    await price(stage)
    await stage.agent(models=CHAIN)
    await put_budget(stage, "0.2", OnExhausted.STOP)

    run = await stage.run("say hello")

    assert run.error is not None
    assert run.error.code == "budget_exhausted"
    assert EventType.BUDGET_EXHAUSTED in await stage.kinds(run.run_id)


async def test_a_budget_that_degrades_goes_on_with_what_costs_nothing(stage: Stage) -> None:
    await price(stage)
    await stage.agent(models=CHAIN)
    await put_budget(stage, "0.2", OnExhausted.DEGRADE)

    run = await stage.run("say hello")

    assert run.output is not None
    assert run.output["content"] == "[offline] hello"
    (fallback,) = await stage.of_kind(run.run_id, EventType.MODEL_FALLBACK)
    assert (fallback["to"], fallback["reason"]) == ("offline/script", "budget_degraded")
    assert stage.provider.log == []


async def test_an_answer_without_a_usage_is_billed_by_what_was_said(stage: Stage) -> None:
    await price(stage)
    await stage.agent(models=("openai/first",))

    run = await stage.run("[[say=hel no_usage]] hello")

    (bill,) = await stage.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    (line,) = await stage.rows("SELECT * FROM usage WHERE run_id = :id", id=run.run_id)
    step = await stage.step(run.run_id, "llm-1-1")
    assert run.state is RunState.DONE
    assert (bill["estimated"], bill["completion_tokens"]) == (True, 5)
    assert bill["prompt_tokens"] == -(-(step["input_estimate"] - 64) // 4) > 0
    assert (line["estimated"], line["output_tokens"]) == (True, 5)
    assert line["cost_pico"] == (step["input_estimate"] + 19) * 10**9
    assert run.usage.output_tokens == 5


async def test_an_answer_without_a_usage_that_broke_off_is_billed_at_what_was_held(
    stage: Stage,
) -> None:
    await price(stage)
    await stage.agent(models=("openai/first",))

    run = await stage.run("[[say=hel no_usage no_done]] hello")

    held = await stage.step(run.run_id, "llm-1-1")
    most = held["input_estimate"] + held["output_estimate"]
    bills = await stage.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    assert {bill["cost_usd"] for bill in bills} == {to_usd(most * 10**9)}
    assert {bill["completion_tokens"] for bill in bills} == {1}


async def test_what_is_no_text_of_a_broken_answer_counts_too(stage: Stage) -> None:
    await stage.agent(models=("openai/first",), tools=["calculator"])

    run = await stage.run('[[tool=calculator args={"expression":"1+1"} no_done]] hello')

    bills = await stage.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    assert {bill["completion_tokens"] for bill in bills} == {-(-len('{"expression": "1+1"}') // 4)}


async def test_a_written_answer_needs_no_tokens(stage: Stage) -> None:
    """Three broken answers used up the cap: what asks nobody is given all the same."""
    await stage.agent(models=("openai/first",), degradation=Degradation(static="Sorry."))

    # The guesses are 60, 60 and 40 tokens: nothing is left, and nothing was refused before.
    run = await stage.run("[[tokens=60 no_done]]", limits=Limits(max_tokens=150))

    assert run.state is RunState.DONE
    assert run.output is not None
    assert (run.output["content"], run.output["degraded"]) == ("Sorry.", "static")


async def test_calls_side_by_side_wait_for_what_is_held_and_none_fails(stage: Stage) -> None:
    await price(stage)
    await stage.agent(models=("openai/first",))
    # One call holds 4.3 USD at most and costs a cent or two: there is room for one at a time.
    await put_budget(stage, "6", OnExhausted.STOP)

    runs = await asyncio.gather(*(stage.run(f"[[tokens=5]] {n}") for n in range(4)))

    assert [run.state for run in runs] == [RunState.DONE] * 4
    assert len(stage.provider.log) == 4


async def test_a_cancelled_run_that_waits_for_money_ends(stage: Stage) -> None:
    run = await asked(stage)

    await stage.intake.cancel(ANN, run.run_id, None)
    done = await stage.ended(run.run_id)

    assert done.state is RunState.CANCELLED
    assert EventType.APPROVAL_EXPIRED in await stage.kinds(run.run_id)


BEHIND = Degradation(
    models=("openai/small",), keywords={"opening hours": "We open at nine."}, static="Sorry."
)


async def test_a_simpler_agent_answers_without_tools_when_the_chain_fails(stage: Stage) -> None:
    stage.provider.controls = {"first": "[[status=400]]"}
    await stage.agent(models=("openai/first",), tools=("calculator",), degradation=BEHIND)

    run = await stage.run("[[tokens=3]] hello")

    assert run.output is not None
    assert run.output["degraded"] == "simple"
    assert run.usage.turns == 1


async def test_written_answers_come_when_no_model_does(stage: Stage) -> None:
    stage.provider.controls = {"first": "[[status=400]]", "small": "[[status=401]]"}
    await stage.agent(models=("openai/first",), degradation=BEHIND)

    by_word = await stage.run("What are your Opening Hours?")
    otherwise = await stage.run("hello")

    assert by_word.output == {
        "role": "assistant",
        "content": "We open at nine.",
        "stop_reason": "stop",
        "degraded": "keyword",
    }
    assert otherwise.output is not None
    assert (otherwise.output["content"], otherwise.output["degraded"]) == ("Sorry.", "static")
    fallbacks = await stage.of_kind(otherwise.run_id, EventType.MODEL_FALLBACK)
    assert [f["to"] for f in fallbacks] == ["openai/small", "degraded/keyword", "degraded/static"]
    assert otherwise.usage.cost_usd == "0"


async def test_a_run_gets_past_an_open_circuit_without_asking(stage: Stage) -> None:
    stage.provider.controls = {"first": "[[status=500]]"}
    await stage.agent(models=CHAIN)
    await stage.run("say once")
    before = len(stage.provider.log)

    run = await stage.run("say again")

    assert run.state is RunState.DONE
    assert len(stage.provider.log) == before
    (fallback,) = await stage.of_kind(run.run_id, EventType.MODEL_FALLBACK)
    assert fallback["reason"] == "circuit_open"


async def test_a_run_with_one_model_waits_for_its_circuit(stage: Stage) -> None:
    await stage.agent(models=("openai/first",))
    await stage.change(
        "INSERT INTO model_health (model, failures, open_until, error_class, updated_at)"
        " VALUES ('openai/first', 3, :until, 'server_error', 1)",
        until=stage.storage.clock.now_ms() + 700,
    )

    run = await stage.run("[[tokens=3]] hello")

    assert run.state is RunState.DONE
    (health,) = await stage.storage.calls.model_health()
    assert health.circuit == "closed"
