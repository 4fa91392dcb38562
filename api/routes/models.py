"""Language models that may be named."""

from fastapi import APIRouter
from starlette.responses import Response

from api.replies import reply
from api.services import Desk, Reader
from api.shapes.catalog import ModelList
from api.views import model_view

router = APIRouter(tags=["models"])


@router.get("/v1/models", operation_id="list_models", responses={200: {"model": ModelList}})
async def list_models(desk: Desk, _access: Reader) -> Response:
    """List the models in OpenAI's shape, configured providers first, with our fields beside."""
    data = [model_view(info) for info in desk.ports.intake.models.models()]
    return reply({"object": "list", "data": data, "has_more": False, "next_cursor": None})
