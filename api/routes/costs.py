"""What model calls did cost."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.bodies import JsonRoute
from api.moments import ms_of
from api.money_views import costs_view
from api.params import CostQuery
from api.replies import reply
from api.services import Desk, Reader
from api.shapes.money import CostsOut
from domain.acceptance import Page
from domain.costs import CostFilter

router = APIRouter(tags=["costs"], route_class=JsonRoute)


@router.get("/v1/costs", operation_id="get_costs", responses={200: {"model": CostsOut}})
async def get_costs(desk: Desk, access: Reader, query: Annotated[CostQuery, Query()]) -> Response:
    """Sum up what your model calls did cost, the dearest first; by `day`, the last day first.

    Attempts that failed count too. `cost_usd` is null where a call has no known price;
    `priced_usd` is what the others cost. `estimated_usd`, a part of it, is what calls were billed
    whose usage never arrived.
    """
    which = CostFilter(
        since_ms=ms_of(query.since, 0),
        until_ms=ms_of(query.until, 0),
        run_id=query.run_id,
        root_run_id=query.root_run_id,
        agent_id=query.agent_id,
        session_id=query.session_id,
        goal_id=query.goal_id,
        key_id=query.key_id,
        model=query.model,
    )
    page = Page(query.limit, query.cursor)
    report = await desk.ports.costs.costs(access.who.owner, query.by, which, page)
    return reply(costs_view(report))
