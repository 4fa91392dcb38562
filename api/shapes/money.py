"""Goals, budgets and costs, as callers get them."""

from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from api.shapes.pieces import JsonObject, Page, Shape, example
from domain.budget import BudgetScope, OnExhausted, Period
from domain.goal import GoalPriority, GoalState

Usd = Annotated[str, Field(description="USD.", examples=["0.0125"])]


class CriterionOut(Shape):
    """What has to be true in the end."""

    text: str
    required: bool
    weight: float
    met: bool
    evidence: str | None


class GoalLimitsOut(Shape):
    """What is done for a goal and the goals below it, at most; null is no limit."""

    max_agents: int | None
    max_concurrent: int | None
    max_cost_usd_per_day: Usd | None


class GoalProgressOut(Shape):
    """How far a goal and the goals below it are. `criteria_score` goes by weights, 0 to 1."""

    runs: dict[str, int]
    total_runs: int
    open_runs: int
    waiting: dict[str, int]
    needs_human_input: bool
    spent_today_usd: Usd
    spent_total_usd: Usd
    unpriced_calls: int
    criteria_met: int
    criteria_total: int
    criteria_score: float | None


class GoalOut(Shape):
    """What work is done for."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "goal_id": "goal_01k9",
                "title": "Answer every question of the launch day",
                "description": "",
                "state": "in_progress",
                "priority": "high",
                "success_criteria": [
                    {
                        "text": "no question is older than an hour",
                        "required": True,
                        "weight": 1.0,
                        "met": False,
                        "evidence": None,
                    }
                ],
                "limits": {"max_agents": 100, "max_concurrent": 10, "max_cost_usd_per_day": "5"},
                "budget_id": "budget_01k9",
                "parent_goal_id": None,
                "progress": {
                    "runs": {"DONE": 3, "RUNNING": 1},
                    "total_runs": 4,
                    "open_runs": 1,
                    "waiting": {"approval": 1},
                    "needs_human_input": True,
                    "spent_today_usd": "0.25",
                    "spent_total_usd": "0.25",
                    "unpriced_calls": 0,
                    "criteria_met": 0,
                    "criteria_total": 1,
                    "criteria_score": 0.0,
                },
                "metadata": {},
                "created_at": "2026-11-20T10:00:00.000Z",
                "updated_at": "2026-11-20T10:00:00.000Z",
                "ended_at": None,
            }
        )
    )

    goal_id: str
    title: str
    description: str
    state: GoalState
    priority: GoalPriority
    success_criteria: list[CriterionOut]
    limits: GoalLimitsOut
    budget_id: str | None
    parent_goal_id: str | None
    progress: GoalProgressOut
    metadata: JsonObject
    created_at: AwareDatetime
    updated_at: AwareDatetime
    ended_at: AwareDatetime | None


class GoalList(Page):
    """A page of goals."""

    goals: list[GoalOut]


class BudgetOut(Shape):
    """How much may be spent on something. `warnings` are the percentages that were passed."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "budget_id": "budget_01k9",
                "scope": "agent",
                "scope_id": "assistant",
                "limit_usd": "5",
                "period": "day",
                "on_exhausted": "ask",
                "reserved_usd": "0.02",
                "spent_usd": "4.1",
                "warnings": [80],
                "created_at": "2026-11-20T10:00:00.000Z",
                "updated_at": "2026-11-20T10:00:00.000Z",
            }
        )
    )

    budget_id: str
    scope: BudgetScope
    scope_id: str
    limit_usd: Usd
    period: Period
    on_exhausted: OnExhausted
    reserved_usd: Usd
    spent_usd: Usd
    warnings: list[int]
    created_at: AwareDatetime
    updated_at: AwareDatetime


class BudgetList(Page):
    """A page of budgets."""

    budgets: list[BudgetOut]


class CostSumsOut(Shape):
    """The sum over some calls. `priced_usd` leaves out those without a known price."""

    calls: int
    failed_calls: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: Annotated[str | None, Field(description="Null when a call in it is unpriced.")]
    priced_usd: Usd
    unpriced_calls: int
    estimated_usd: Usd


class CostLineOut(CostSumsOut):
    """The sum for one model, agent, day or what else is asked for; null: those that have none."""

    key: str | None


class CostWarningOut(Shape):
    """What is not in the sums."""

    code: str
    model: str
    calls: int
    message: str


class CostsOut(Page):
    """A page of sums; the total is over all pages."""

    model_config = ConfigDict(
        json_schema_extra=example(
            {
                "costs": [
                    {
                        "key": "openai/gpt-x",
                        "calls": 3,
                        "failed_calls": 1,
                        "input_tokens": 3000,
                        "output_tokens": 500,
                        "cached_tokens": 1000,
                        "cost_usd": "0.0125",
                        "priced_usd": "0.0125",
                        "unpriced_calls": 0,
                        "estimated_usd": "0.0025",
                    }
                ],
                "total": {
                    "calls": 3,
                    "failed_calls": 1,
                    "input_tokens": 3000,
                    "output_tokens": 500,
                    "cached_tokens": 1000,
                    "cost_usd": "0.0125",
                    "priced_usd": "0.0125",
                    "unpriced_calls": 0,
                    "estimated_usd": "0.0025",
                },
                "warnings": [],
                "has_more": False,
                "next_cursor": None,
            }
        )
    )

    costs: list[CostLineOut]
    total: CostSumsOut
    warnings: list[CostWarningOut]
