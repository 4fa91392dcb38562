"""Language models that may be named."""

from fastapi import APIRouter
from starlette.responses import Response

from api.completions.listing import agent_views, choice_views
from api.late import LateRoute
from api.replies import reply
from api.services import Desk, Reader
from api.shapes.catalog import ModelList
from api.views import model_view
from domain.acceptance import Page
from domain.pricing import priced, with_noted

router = APIRouter(tags=["models"], route_class=LateRoute)


@router.get("/v1/models", operation_id="list_models", responses={200: {"model": ModelList}})
async def list_models(desk: Desk, access: Reader) -> Response:
    """List the models in OpenAI's shape, with our fields beside.

    Those of configured providers come first. `auto`, the tiers and your agents (`agent:<id>`) may
    be named like models in chat completions.
    """
    agents, _ = await desk.directory.list_agents(access.who.owner, Page(limit=1000))
    health = {found.model: found for found in await desk.ports.model_health.model_health()}
    known = with_noted(desk.ports.intake.models.models(), health)
    prices = await desk.ports.prices.list_prices()
    data = [model_view(info, health.get(info.model)) for info in priced(known, prices)]
    data += await choice_views(desk.ports.proxy.router)
    data += agent_views(agents)
    return reply({"object": "list", "data": data, "has_more": False, "next_cursor": None})
