"""What models cost, as the operator says. Knows nothing of what the calls did cost."""

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import Response

from api.bodies import JsonRoute
from api.money_bodies import PriceBody
from api.replies import reply
from api.services import Desk, Operator
from api.shapes.catalog import PriceSetOut
from domain.spending import PriceOverride

router = APIRouter(tags=["models"], route_class=JsonRoute)
Provider = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", examples=["openai"])]
ModelName = Annotated[str, Path(pattern=r"^[\x21-\x7e]{1,200}$", examples=["gpt-x"])]


@router.put(
    "/v1/models/{provider}/{name:path}/price",
    operation_id="set_price",
    responses={200: {"model": PriceSetOut}},
)
async def set_price(
    desk: Desk, access: Operator, provider: Provider, name: ModelName, body: PriceBody
) -> Response:
    """Say what a model costs from its next call on; this wins over `orchestrator.toml`."""
    cached = body.cached_input_per_mtok_usd or body.input_per_mtok_usd
    price = PriceOverride(
        Decimal(body.input_per_mtok_usd), Decimal(body.output_per_mtok_usd), Decimal(cached)
    )
    model = f"{provider}/{name}"
    await desk.budgeting.set_price(model, price, access.who.signature)
    return reply(
        {
            "model": model,
            "price": {
                "input_per_mtok_usd": f"{price.input_usd:f}",
                "output_per_mtok_usd": f"{price.output_usd:f}",
                "cached_input_per_mtok_usd": f"{price.cached_input_usd:f}",
                "source": "api",
            },
        }
    )


@router.delete(
    "/v1/models/{provider}/{name:path}/price",
    operation_id="delete_price",
    status_code=204,
    responses={404: {}},
)
async def delete_price(
    desk: Desk, _access: Operator, provider: Provider, name: ModelName
) -> Response:
    """Forget what was said; the price of `orchestrator.toml`, or the bundled one, counts again."""
    await desk.budgeting.forget_price(f"{provider}/{name}")
    return Response(status_code=204)
