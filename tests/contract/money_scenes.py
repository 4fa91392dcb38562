"""Short words for what the tests of goals, budgets and the ledger do over and over."""

from typing import Any

from domain.budget import Budget, BudgetScope, Period
from domain.goal import Goal, GoalLimits
from tests.contract.store_engines import StoreBox
from tests.contract.store_scenes import OWNER, new_run

DAY = 86_400_000
USD = 10**12

_ENTER = (
    "INSERT INTO usage (run_id, step_id, attempt, owner, agent_id, session_id, model,"
    " input_tokens, output_tokens, cached_tokens, cost_pico, estimated, latency_ms, error_code,"
    " created_at, root_run_id, goal_id, key_id) VALUES (:run_id, :step_id, 1, :owner, :agent_id,"
    " :session_id, :model, :input, :output, :cached, :cost, :estimated, 5, :error, :at,"
    " :root, :goal_id, :key_id)"
)
_HOLD = (
    "INSERT INTO holds (hold_id, owner, run_id, root_run_id, agent_id, model, pico, input_tokens,"
    " output_tokens, budget_ids, opened_at, expires_at) VALUES (:id, :owner, :run_id, :run_id,"
    " :agent_id, 'openai/x', :pico, 1, 1, '[\"budget_other\"]', 1, 2)"
)


def goal(goal_id: str, **fields: Any) -> Goal:
    values: dict[str, Any] = {"owner": OWNER, "title": goal_id, "created_at": 1, "updated_at": 1}
    limits = GoalLimits.model_validate(fields.pop("limits", {}))
    return Goal.model_validate({**values, "goal_id": goal_id, "limits": limits, **fields})


def budget(budget_id: str, scope: BudgetScope, scope_id: str, **fields: Any) -> Budget:
    values: dict[str, Any] = {"owner": OWNER, "limit_usd": "5", "period": Period.NONE}
    values |= {"created_at": 1, "updated_at": 1, **fields}
    return Budget(budget_id=budget_id, scope=scope, scope_id=scope_id, **values)


async def entered(store: StoreBox, run_id: str, usd: str | None, **fields: Any) -> None:
    """Put a call on the ledger, as a step of a run would."""
    values: dict[str, Any] = {
        "run_id": run_id,
        "step_id": "llm-1-1",
        "owner": OWNER,
        "agent_id": "helper",
        "session_id": f"s-{run_id}",
        "model": "openai/x",
        "input": 100,
        "output": 20,
        "cached": 5,
        "cost": None if usd is None else int(float(usd) * USD),
        "estimated": False,
        "error": None,
        "at": store.clock.now_ms(),
        "root": run_id,
        "goal_id": None,
        "key_id": None,
    }
    await store.set(_ENTER, **{**values, **fields})


async def held(store: StoreBox, hold_id: str, usd: str, **fields: Any) -> None:
    """Let a call on its way hold money."""
    values = {"owner": OWNER, "run_id": "run_1", "agent_id": "helper", **fields}
    await store.set(_HOLD, id=hold_id, pico=int(float(usd) * USD), **values)


async def accepted(store: StoreBox, run_id: str, **fields: Any) -> Any:
    """Accept a run and return its row."""
    await store.runs.accept(new_run(run_id, **fields))
    return await store.one("SELECT * FROM runs WHERE run_id = :id", id=run_id)
