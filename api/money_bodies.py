"""What callers send about goals, budgets and prices."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from api.requests import Body, GoalKey, JsonObject, Money, Name
from domain.budget import BudgetScope, OnExhausted, Period
from domain.goal import GoalPriority, GoalState

_MOST_USD = 9_000_000
"""What 64 bits of picodollars hold."""


def _left_out() -> Any:  # noqa: ANN401 -- fits every field
    """Stand for a field that was not sent; a null that was sent is refused."""


def _storable(usd: str) -> str:
    if Decimal(usd) > _MOST_USD:
        raise PydanticCustomError("too_much", "at most 9000000 USD")
    return usd


Usd = Annotated[Money, AfterValidator(_storable)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Text = Annotated[str, Field(max_length=100_000)]
Priority = Annotated[GoalPriority, Field(strict=False)]
State = Annotated[GoalState, Field(strict=False)]
Exhausted = Annotated[
    OnExhausted,
    Field(
        strict=False,
        description="`ask`: the run waits for a person; `degrade`: it goes on with cheaper models;"
        " `stop`: it fails `budget_exhausted`.",
    ),
]


class CriterionBody(Body):
    """What has to be true in the end."""

    text: Name
    required: bool = True
    weight: Annotated[float, Field(ge=0, le=1_000_000)] = 1.0
    met: bool = False
    evidence: Annotated[str, Field(max_length=10_000)] | None = None


Criteria = Annotated[list[Name | CriterionBody], Field(max_length=100)]


class GoalLimitsBody(Body):
    """What is done for a goal and the goals below it, at most; null is no limit."""

    max_agents: Annotated[
        Count | None, Field(description="Runs of agents over its whole life.")
    ] = 100
    max_concurrent: Annotated[
        Count | None, Field(description="Runs of agents open at once, waiting ones too.")
    ] = 10
    max_cost_usd_per_day: Annotated[
        Usd | None, Field(description="Kept as the goal's daily budget.")
    ] = "10"


class GoalBody(Body):
    """A goal to make. With it comes its daily budget."""

    title: Name
    description: Text = ""
    priority: Priority = GoalPriority.MEDIUM
    success_criteria: Criteria = Field(default_factory=list)
    limits: GoalLimitsBody = Field(default_factory=GoalLimitsBody)
    parent_goal_id: GoalKey | None = None
    metadata: JsonObject = Field(default_factory=dict)

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "Answer every question of the launch day",
                    "priority": "high",
                    "success_criteria": ["no question is older than an hour"],
                    "limits": {"max_cost_usd_per_day": "5"},
                }
            ]
        }
    )


class GoalChangesBody(Body):
    """What to change of a goal; a field that is left out stays, as does each limit."""

    title: Name = Field(default_factory=_left_out)
    description: Text = Field(default_factory=_left_out)
    state: State = Field(default_factory=_left_out)
    priority: Priority = Field(default_factory=_left_out)
    success_criteria: Criteria = Field(default_factory=_left_out)
    limits: GoalLimitsBody = Field(default_factory=_left_out)
    metadata: JsonObject = Field(default_factory=_left_out)

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"limits": {"max_cost_usd_per_day": "8"}}]}
    )


class BudgetBody(Body):
    """A budget to make. What was spent in its period already counts."""

    scope: Annotated[BudgetScope, Field(strict=False)]
    scope_id: Annotated[
        str | None,
        Field(
            pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127})$",
            description="Whose spending. May be left out for `global`, which is then all of yours;"
            " `*` is everything of every owner, for the operator only.",
        ),
    ] = None
    limit_usd: Usd
    period: Annotated[Period, Field(strict=False)] = Period.NONE
    on_exhausted: Exhausted = OnExhausted.ASK

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "scope": "agent",
                    "scope_id": "assistant",
                    "limit_usd": "5",
                    "period": "day",
                    "on_exhausted": "ask",
                }
            ]
        }
    )


class BudgetChangesBody(Body):
    """What to change of a budget; runs that wait on it look again."""

    limit_usd: Usd = Field(default_factory=_left_out)
    on_exhausted: Exhausted = Field(default_factory=_left_out)

    model_config = ConfigDict(json_schema_extra={"examples": [{"limit_usd": "8"}]})


class PriceBody(Body):
    """What a model costs, USD per million tokens; cached input as much as other by default."""

    input_per_mtok_usd: Usd
    output_per_mtok_usd: Usd
    cached_input_per_mtok_usd: Usd | None = None

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"input_per_mtok_usd": "1.25", "output_per_mtok_usd": "10"}]
        }
    )
