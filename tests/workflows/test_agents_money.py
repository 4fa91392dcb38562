"""External agents under budgets: they are asked about, held and billed as models are."""

from domain.agent import agent_model
from domain.budget import BudgetScope, OnExhausted, Period
from domain.event import EventType
from domain.principal import LOCAL_OWNER
from domain.run import RunState
from tests.stub.agent import StubAgent
from tests.workflows.stage import ANN, Stage
from tests.workflows.test_external_agents import own
from tests.workflows.test_money import price, put_budget

SPENT = "[[tokens=3]] hello"


async def cap(stage: Stage, limit: str, action: OnExhausted) -> None:
    await put_budget(stage, limit, action)
    await stage.change("UPDATE budgets SET scope_id = 'own'")


async def test_an_agent_waits_for_money_and_is_called_once_a_person_raised_the_budget(
    stage: Stage,
) -> None:
    stub = StubAgent()
    async with stub.serve() as server:
        await own(stage, server.url)
        await price(stage, agent_model("own"))
        await cap(stage, "0.2", OnExhausted.ASK)
        run = await stage.start(SPENT, "own")
        await stage.seen(run.run_id, EventType.RUN_WAITING)
        (question,) = await stage.of_kind(run.run_id, EventType.APPROVAL_REQUIRED)
        asked_before = len(stub.log)

        await stage.decide(question["approval_id"], approved=True)
        done = await stage.ended(run.run_id)

    budget = await stage.storage.budgets.get_budget(LOCAL_OWNER, "budget_1")
    assert (asked_before, len(stub.log)) == (0, 1)
    assert done.state is RunState.DONE
    assert (budget.scope, budget.period) == (BudgetScope.AGENT, Period.NONE)
    assert budget.reserved_usd == "0"
    assert budget.spent_usd == done.usage.cost_usd
    assert float(budget.spent_usd) > 0


async def test_an_agent_of_unknown_price_is_not_called_under_a_budget(stage: Stage) -> None:
    stub = StubAgent()
    async with stub.serve() as server:
        await own(stage, server.url)
        await cap(stage, "5", OnExhausted.STOP)

        run = await stage.run(SPENT, "own")

    assert run.error is not None
    assert run.error.code == "price_unknown"
    assert stub.log == []


async def test_a_call_that_broke_off_is_billed_at_what_was_held(stage: Stage) -> None:
    async with StubAgent().serve() as server:
        await own(stage, server.url)
        await price(stage, agent_model("own"))
        await cap(stage, "500", OnExhausted.STOP)

        run = await stage.run("[[tokens=9 error=quota]]", "own")

    (bill,) = await stage.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    budget = await stage.storage.budgets.get_budget(LOCAL_OWNER, "budget_1")
    assert run.state is RunState.FAILED
    assert bill["estimated"]
    assert bill["cost_usd"] == budget.spent_usd == run.usage.cost_usd
    assert float(budget.spent_usd) > 4
    assert budget.reserved_usd == "0"


async def test_what_an_agent_streamed_before_it_was_cancelled_is_on_the_ledger(
    stage: Stage,
) -> None:
    async with StubAgent().serve() as server:
        await own(stage, server.url)
        run = await stage.start("[[endless gap_ms=20]]", "own")
        await stage.seen(run.run_id, EventType.AGENT_STREAM_DELTA)

        await stage.intake.cancel(ANN, run.run_id, None)
        done = await stage.ended(run.run_id)

    (bill,) = await stage.of_kind(run.run_id, EventType.LLM_CALL_DONE)
    assert (bill["model"], bill["cost_usd"]) == (agent_model("own"), None)
    assert (bill["estimated"], done.usage.cost_usd) == (True, None)


async def test_every_state_of_an_agent_is_told(stage: Stage) -> None:
    async with StubAgent().serve() as server:
        await own(stage, server.url)

        run = await stage.run("[[state=busy states=3]]", "own")

    assert len(await stage.of_kind(run.run_id, EventType.AGENT_STATE)) == 3
