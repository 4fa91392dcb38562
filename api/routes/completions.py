"""OpenAI's chat completions: the one way in for every client that speaks them."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from api.access import Access
from api.agents import on_behalf
from api.bodies import check_type
from api.completions import agents
from api.completions.asking import is_agent, read_ask
from api.completions.departure import CallerGoneError
from api.errors import COMPLETIONS
from api.late import LateRoute
from api.openapi import CHUNK_STREAM, one_of
from api.services import Needs, Services
from api.shapes.completions import CompletionBody, CompletionOut
from domain.principal import Scope

_CLOSED = 499
"""What the log says of a request whose caller went away."""


async def _complete(request: Request) -> Response:
    access, desk = request.scope["access"], request.app.state.services
    assert isinstance(access, Access)
    assert isinstance(desk, Services)
    check_type(request)
    body = await request.body()
    ask = read_ask(body, request.headers, desk.config.proxy, access.who)
    if access.who.agent_id is not None:
        access, _ = await on_behalf(desk, access, ask.run_id)
    try:
        if is_agent(ask.model):
            return await agents.answer(desk, access, ask, request)
        return await desk.completions.answer(access, ask, request)
    except CallerGoneError:
        return Response(status_code=_CLOSED)


async def _serve(scope: AsgiScope, receive: Receive, send: Send) -> None:
    response = await _complete(Request(scope, receive, send))
    await response(scope, receive, send)


class RawRoute(LateRoute):
    """A route that reads its request itself: what FastAPI would do around it costs a millisecond.

    Its function is there for the OpenAPI document and is never called.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **about: Any) -> None:  # noqa: ANN401 -- FastAPI's own
        super().__init__(path, endpoint, **about)
        self.app = _serve

    def analyse(self) -> None:
        """Become the whole route, but for what serves it."""
        super().analyse()
        self.app = _serve


router = APIRouter(tags=["chat completions"], route_class=RawRoute)


@router.post(
    COMPLETIONS,
    operation_id="create_chat_completion",
    dependencies=[Depends(Needs(Scope.PROXY, agents=True))],
    responses={
        200: one_of(CompletionOut, CHUNK_STREAM, "The answer, or the stream of it."),
        **{status: {} for status in (402, 404, 409, 502, 504)},
    },
)
async def create_chat_completion(body: CompletionBody) -> Response:
    """Complete a chat, as OpenAI's API does.

    The model is asked as it is named and its answer goes through as it comes; the call is on the
    ledger. `x-run-id` ties it to a run: its events, its budget. `auto` and `tier:...` stand for
    chains of models: the header `x-model` says which one answered. `agent:<id>` is a durable run
    (scope `invoke`). The token of an external agent may ask for the run that it works on, which
    `x-run-id` names.
    """
    raise NotImplementedError(body)
