"""What an owner prefers: the agent that is pinned."""

from fastapi import APIRouter
from starlette.responses import Response

from api.bodies import JsonRoute
from api.learning_views import pin_view
from api.preference_bodies import PinBody
from api.replies import reply
from api.services import Desk, Invoker, Reader
from api.shapes.learning import PinOut
from domain.learning.pins import Pin

router = APIRouter(tags=["learning"], route_class=JsonRoute)
_PATH = "/v1/preferences/agent"


@router.put(_PATH, operation_id="pin_agent", responses={200: {"model": PinOut}, 404: {}})
async def pin_agent(desk: Desk, access: Invoker, body: PinBody) -> Response:
    """Pin an agent, in place of an earlier one: it does every run that names none.

    The agent of a session goes first. While the pinned agent is unhealthy, cannot pay, lacks what
    a run requires or is gone, runs go to the agent that fits best, and `GET /v1/runs/{id}/route`
    says why.
    """
    agent = await desk.directory.get_agent(access.who.owner, body.agent_id)
    pin = Pin(
        owner=access.who.owner,
        agent_id=agent.agent_id,
        pinned_by=access.who.signature,
        pinned_at=desk.ports.clock.now_ms(),
    )
    await desk.ports.pins.put_pin(pin)
    return reply(pin_view(pin))


@router.get(_PATH, operation_id="get_pin", responses={200: {"model": PinOut}, 404: {}})
async def get_pin(desk: Desk, access: Reader) -> Response:
    """Return the pinned agent; 404 while none is."""
    return reply(pin_view(await desk.ports.pins.get_pin(access.who.owner)))


@router.delete(_PATH, operation_id="unpin_agent", status_code=204, responses={404: {}})
async def unpin_agent(desk: Desk, access: Invoker) -> Response:
    """Take the pin away: runs that name no agent go to the one that fits best again."""
    await desk.ports.pins.delete_pin(access.who.owner)
    return Response(status_code=204)
