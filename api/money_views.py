"""Goals, budgets and costs as callers see them."""

from api.views import View, iso
from domain.budget import Budget
from domain.costs import CostLine, CostReport
from domain.goal import Goal, budget_of
from domain.money import to_usd

_OPEN = ("CREATED", "RUNNING")
_PEOPLE = ("approval", "budget")
"""What a run waits for that only a person can give."""


def goal_view(goal: Goal) -> View:
    """Return a goal with its progress."""
    has_budget = goal.limits.max_cost_usd_per_day is not None
    return {
        "goal_id": goal.goal_id,
        "title": goal.title,
        "description": goal.description,
        "state": goal.state.value,
        "priority": goal.priority.value,
        "success_criteria": [one.model_dump() for one in goal.success_criteria],
        "limits": goal.limits.model_dump(),
        "budget_id": budget_of(goal.goal_id) if has_budget else None,
        "parent_goal_id": goal.parent_goal_id,
        "progress": _progress_view(goal),
        "metadata": goal.metadata,
        "created_at": iso(goal.created_at),
        "updated_at": iso(goal.updated_at),
        "ended_at": iso(goal.ended_at),
    }


def _progress_view(goal: Goal) -> View:
    progress, criteria = goal.progress, goal.success_criteria
    met = [one for one in criteria if one.met]
    weight = sum(one.weight for one in criteria)
    return {
        "runs": progress.runs,
        "total_runs": sum(progress.runs.values()),
        "open_runs": sum(progress.runs.get(state, 0) for state in _OPEN),
        "waiting": progress.waiting,
        "needs_human_input": any(progress.waiting.get(what) for what in _PEOPLE),
        "spent_today_usd": progress.spent_today_usd,
        "spent_total_usd": progress.spent_total_usd,
        "unpriced_calls": progress.unpriced_calls,
        "criteria_met": len(met),
        "criteria_total": len(criteria),
        "criteria_score": round(sum(one.weight for one in met) / weight, 4) if weight else None,
    }


def budget_view(budget: Budget) -> View:
    """Return a budget."""
    return {
        "budget_id": budget.budget_id,
        "scope": budget.scope.value,
        "scope_id": budget.scope_id,
        "limit_usd": budget.limit_usd,
        "period": budget.period.value,
        "on_exhausted": budget.on_exhausted.value,
        "reserved_usd": budget.reserved_usd,
        "spent_usd": budget.spent_usd,
        "warnings": list(budget.warnings),
        "created_at": iso(budget.created_at),
        "updated_at": iso(budget.updated_at),
    }


def costs_view(report: CostReport) -> View:
    """Return a page of sums with their total and what is not in them."""
    return {
        "costs": [{"key": line.key, **_sums(line)} for line in report.lines],
        "total": _sums(report.total),
        "warnings": [
            {
                "code": "price_unknown",
                "model": model,
                "calls": calls,
                "message": f"nobody knows what {model} costs; PUT /v1/models/{model}/price",
            }
            for model, calls in report.unpriced
        ],
        "has_more": report.cursor is not None,
        "next_cursor": report.cursor,
    }


def _sums(line: CostLine) -> View:
    return {
        "calls": line.calls,
        "failed_calls": line.failed_calls,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "cached_tokens": line.cached_tokens,
        "cost_usd": line.cost_usd,
        "priced_usd": to_usd(line.priced_pico),
        "unpriced_calls": line.unpriced_calls,
        "estimated_usd": to_usd(line.estimated_pico),
    }
