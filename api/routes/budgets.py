"""Budgets: how much may be spent on what."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.access import Access
from api.bodies import JsonRoute
from api.money_bodies import BudgetBody, BudgetChangesBody
from api.money_views import budget_view
from api.openapi import created
from api.params import BudgetId, Cursor, Limit
from api.replies import listed, reply
from api.services import Admin, Desk, Reader, Services
from api.shapes.money import BudgetList, BudgetOut
from domain.acceptance import Page
from domain.auth import sees_every_owner
from domain.budget import EVERYBODY, Budget, BudgetScope
from domain.errors import ForbiddenError, InvalidRequestError

router = APIRouter(tags=["budgets"], route_class=JsonRoute)
ScopeKey = Annotated[str | None, Query(pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127})$")]


@router.post(
    "/v1/budgets",
    operation_id="create_budget",
    status_code=201,
    responses={201: created(BudgetOut), 404: {}, 409: {}},
)
async def create_budget(desk: Desk, access: Admin, body: BudgetBody) -> Response:
    """Make a budget. What the ledger holds of its present period is spent of it from the start.

    So nobody gains by removing a budget and making it again.
    """
    scope_id = await _scope_id(desk, access, body)
    now = desk.ports.clock.now_ms()
    made = await desk.ports.budgets.put_budget(
        Budget(
            budget_id=desk.ports.intake.ids.new("budget"),
            owner=access.who.owner,
            scope=body.scope,
            scope_id=scope_id,
            limit_usd=body.limit_usd,
            period=body.period,
            on_exhausted=body.on_exhausted,
            created_at=now,
            updated_at=now,
        )
    )
    return reply(budget_view(made), 201, {"location": f"/v1/budgets/{made.budget_id}"})


@router.get("/v1/budgets", operation_id="list_budgets", responses={200: {"model": BudgetList}})
async def list_budgets(
    desk: Desk,
    access: Reader,
    scope: BudgetScope | None = None,
    scope_id: ScopeKey = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Response:
    """List budgets, newest first."""
    asked = {"scope": scope and scope.value, "scope_id": scope_id}
    which = {name: value for name, value in asked.items() if value is not None}
    page = Page(limit, cursor)
    budgets, following = await desk.ports.budgets.list_budgets(access.who.owner, which, page)
    return listed("budgets", [budget_view(budget) for budget in budgets], following)


@router.get(
    "/v1/budgets/{budget_id}",
    operation_id="get_budget",
    responses={200: {"model": BudgetOut}, 404: {}},
)
async def get_budget(desk: Desk, access: Reader, budget_id: BudgetId) -> Response:
    """Return one budget: what is held of it by calls on their way, and what was spent."""
    return reply(budget_view(await desk.ports.budgets.get_budget(access.who.owner, budget_id)))


@router.patch(
    "/v1/budgets/{budget_id}",
    operation_id="update_budget",
    responses={200: {"model": BudgetOut}, 404: {}},
)
async def update_budget(
    desk: Desk, access: Admin, budget_id: BudgetId, body: BudgetChangesBody
) -> Response:
    """Change a budget. The runs that wait on it look again at once."""
    changes = body.model_dump(mode="json", exclude_unset=True)
    return reply(
        budget_view(await desk.budgeting.change_budget(access.who.owner, budget_id, changes))
    )


@router.delete(
    "/v1/budgets/{budget_id}",
    operation_id="delete_budget",
    status_code=204,
    responses={404: {}},
)
async def delete_budget(desk: Desk, access: Admin, budget_id: BudgetId) -> Response:
    """Remove a budget. The runs that wait on it look again at once."""
    await desk.budgeting.delete_budget(access.who.owner, budget_id)
    return Response(status_code=204)


async def _scope_id(desk: Services, access: Access, body: BudgetBody) -> str:
    """Return what a budget is about, which has to be the caller's own.

    Raises:
        InvalidRequestError: it is not named.
        NotFoundError: there is no such run or goal.
        ForbiddenError: it is about others, and the caller does not run the place.
    """
    owner, named = access.who.owner, body.scope_id
    if body.scope is BudgetScope.GLOBAL:
        if named == EVERYBODY and not sees_every_owner(access.who):
            raise ForbiddenError("only the operator makes a budget for every owner")
        if named not in {None, owner, EVERYBODY}:
            said = "leave scope_id out for all that is yours; `*` is everything of every owner"
            raise InvalidRequestError(said, field="scope_id")
        return named or owner
    if named is None or named == EVERYBODY:
        raise InvalidRequestError(f"name the {body.scope} as scope_id", field="scope_id")
    if body.scope is BudgetScope.GOAL:
        await desk.ports.goals.get_goal(owner, named)
    if body.scope is BudgetScope.RUN:
        await desk.runs.get_run(owner, named)
    return named
