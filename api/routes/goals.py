"""Goals: what work is done for, with limits and a daily budget."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.bodies import JsonRoute
from api.money_bodies import CriterionBody, GoalBody, GoalChangesBody
from api.money_views import goal_view
from api.openapi import created
from api.params import Cursor, GoalId, Limit
from api.replies import listed, reply
from api.services import Desk, Invoker, Reader
from api.shapes.money import GoalList, GoalOut
from domain.acceptance import Page
from domain.goal import Criterion, Goal, GoalLimits, GoalState

router = APIRouter(tags=["goals"], route_class=JsonRoute)
Below = Annotated[
    str | None,
    Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}$", description="Goals below this one."),
]


@router.post(
    "/v1/goals",
    operation_id="create_goal",
    status_code=201,
    responses={201: created(GoalOut), 404: {}, 409: {}},
)
async def create_goal(desk: Desk, access: Invoker, body: GoalBody) -> Response:
    """Make a goal, and its daily budget with it. Name it as `goal_id` when a run is started."""
    now = desk.ports.clock.now_ms()
    goal = Goal(
        goal_id=desk.ports.intake.ids.new("goal"),
        owner=access.who.owner,
        title=body.title,
        description=body.description,
        priority=body.priority,
        success_criteria=_criteria(body.success_criteria),
        limits=GoalLimits.model_validate(body.limits.model_dump()),
        parent_goal_id=body.parent_goal_id,
        metadata=body.metadata,
        created_at=now,
        updated_at=now,
    )
    made = await desk.ports.goals.put_goal(goal)
    return reply(goal_view(made), 201, {"location": f"/v1/goals/{made.goal_id}"})


@router.get("/v1/goals", operation_id="list_goals", responses={200: {"model": GoalList}})
async def list_goals(
    desk: Desk,
    access: Reader,
    state: GoalState | None = None,
    parent_goal_id: Below = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List goals with their progress, newest first."""
    asked = {"state": state and state.value, "parent_goal_id": parent_goal_id}
    which = {name: value for name, value in asked.items() if value is not None}
    page = Page(limit, cursor)
    goals, following = await desk.ports.goals.list_goals(access.who.owner, which, page)
    return listed("goals", [goal_view(goal) for goal in goals], following)


@router.get(
    "/v1/goals/{goal_id}",
    operation_id="get_goal",
    responses={200: {"model": GoalOut}, 404: {}},
)
async def get_goal(desk: Desk, access: Reader, goal_id: GoalId) -> Response:
    """Return one goal: how many of its runs are where, what was spent today and in all."""
    return reply(goal_view(await desk.ports.goals.get_goal(access.who.owner, goal_id)))


@router.patch(
    "/v1/goals/{goal_id}",
    operation_id="update_goal",
    responses={200: {"model": GoalOut}, 404: {}, 409: {}},
)
async def update_goal(
    desk: Desk, access: Invoker, goal_id: GoalId, body: GoalChangesBody
) -> Response:
    """Change a goal. `paused` takes no new runs; `cancelled` stops those that are open."""
    changes: dict[str, Any] = body.model_dump(exclude_unset=True)
    if "success_criteria" in changes:
        changes["success_criteria"] = _criteria(body.success_criteria)
    return reply(goal_view(await desk.budgeting.change_goal(access.who, goal_id, changes)))


@router.delete(
    "/v1/goals/{goal_id}",
    operation_id="delete_goal",
    status_code=204,
    responses={404: {}, 409: {}},
)
async def delete_goal(desk: Desk, access: Invoker, goal_id: GoalId) -> Response:
    """Remove a goal without open runs, and its budgets. Its runs and what they cost stay."""
    await desk.ports.goals.delete_goal(access.who.owner, goal_id)
    return Response(status_code=204)


def _criteria(sent: Sequence[str | CriterionBody]) -> tuple[Criterion, ...]:
    return tuple(
        Criterion(text=one) if isinstance(one, str) else Criterion(**one.model_dump())
        for one in sent
    )
